//! What filters have written into the fields that frame a message or speak of its connection: it reads back
//! for all filters of the transaction, and the server's own go out.
//!
//! Made by the first such write of a transaction; until one exists, reading costs a look at one number. A
//! transaction has them from whichever thread, its home or that of a slot, and until it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxBuildHasher;
use wasmdbg_proxy_wasm::part::is_framing;
use wasmdbg_proxy_wasm::{HeaderMap, Status};

use crate::ts::{Access, Header, Txn};

/// Bytes that the view of one map may take: these fields are short, and this memory is ours.
const LIMIT: usize = 0x1_0000;

/// A name and a value.
type Field = (Vec<u8>, Vec<u8>);

/// The framing fields of one header map as filters see them.
type View = Vec<Field>;

/// The views of one transaction.
#[derive(Default)]
struct Views {
    request: Option<View>,
    response: Option<View>,
}

impl Views {
    fn of(&mut self, map: HeaderMap) -> &mut Option<View> {
        if map == HeaderMap::RequestHeaders { &mut self.request } else { &mut self.response }
    }
}

/// Those of all transactions that have some, until [`end`].
static VIEWS: Mutex<HashMap<Txn, Views, FxBuildHasher>> = Mutex::new(HashMap::with_hasher(FxBuildHasher));

/// How many transactions are in there.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Held for the look at one, never while anything of the server runs.
fn views() -> MutexGuard<'static, HashMap<Txn, Views, FxBuildHasher>> {
    VIEWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a view in the place of the one before; none: what the header has.
fn set(access: &Access<'_>, map: HeaderMap, view: Option<View>) {
    let mut views = views();
    match view {
        Some(view) => *views.entry(access.txn()).or_default().of(map) = Some(view),
        None => {
            if let Some(views) = views.get_mut(&access.txn()) {
                *views.of(map) = None;
            }
        }
    }
    COUNT.store(views.len(), Ordering::Relaxed);
}

/// The transaction is over.
#[inline]
pub(crate) fn end(txn: Txn) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        let mut views = views();
        views.remove(&txn);
        COUNT.store(views.len(), Ordering::Relaxed);
    }
}

/// The fields as filters see them; none when they are those of the header.
#[inline]
pub(super) fn written(map: HeaderMap, header: &Header<'_>) -> Option<View> {
    if COUNT.load(Ordering::Relaxed) == 0 { None } else { view_of(map, header) }
}

#[cold]
fn view_of(map: HeaderMap, header: &Header<'_>) -> Option<View> {
    views().get_mut(&header.access().txn())?.of(map).clone()
}

/// Changes what filters see.
///
/// # Errors
/// It would grow beyond [`LIMIT`].
pub(super) fn write(
    map: HeaderMap,
    header: &Header<'_>,
    change: impl FnOnce(&mut View),
) -> Result<(), Status> {
    let before = view_of(map, header).unwrap_or_else(|| own(header));
    let mut fields = before.clone();
    change(&mut fields);
    let fits = size(&fields) <= size(&before).max(LIMIT);
    set(header.access(), map, Some(if fits { fields } else { before }));
    if fits { Ok(()) } else { Err(Status::BadArgument) }
}

/// Bytes of names and values, and some for each field itself.
fn size(fields: &[Field]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
}

/// Filters see `fields` from here on.
pub(super) fn replace_all(map: HeaderMap, header: &Header<'_>, fields: View) {
    let differs = own(header) != fields;
    if differs || COUNT.load(Ordering::Relaxed) != 0 {
        set(header.access(), map, differs.then_some(fields));
    }
}

/// The message of `map` is another one: what was written into the old one is gone.
pub(crate) fn forget(access: &Access<'_>, map: HeaderMap) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        set(access, map, None);
    }
}

/// The framing fields that the header has.
pub(super) fn own(header: &Header<'_>) -> View {
    let mut fields = Vec::new();
    let mut next = header.first();
    while let Some(field) = next {
        if is_framing(field.name()) {
            fields.push((field.name().to_vec(), field.value().to_vec()));
        }
        next = field.next();
    }
    fields
}
