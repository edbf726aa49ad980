//! What filters have written into the fields that frame a message or speak of its connection: it reads back
//! for all filters of the transaction, and the server's own go out.
//!
//! Made by the first such write of a transaction; until one exists, reading costs a look at one number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use wasmdbg_proxy_wasm::part::is_framing;
use wasmdbg_proxy_wasm::{HeaderMap, Status};

use crate::flow;
use crate::ts::{Access, Header};

/// Header maps of all transactions that have a view of their own.
static VIEWS: AtomicUsize = AtomicUsize::new(0);

/// Bytes that the view of one map may take: these fields are short, and this memory is ours.
const LIMIT: usize = 0x1_0000;

/// A name and a value.
type Field = (Vec<u8>, Vec<u8>);

/// The views of one transaction, a part of its flow.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    request: Mutex<Option<View>>,
    response: Mutex<Option<View>>,
}

/// The framing fields of one header map as filters see them. Counted while it lives.
#[derive(Debug)]
struct View(Vec<Field>);

impl View {
    fn new(fields: Vec<Field>) -> Self {
        VIEWS.fetch_add(1, Ordering::Relaxed);
        Self(fields)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        VIEWS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Framing {
    fn of(&self, map: HeaderMap) -> &Mutex<Option<View>> {
        if map == HeaderMap::RequestHeaders { &self.request } else { &self.response }
    }
}

/// Does `work` with the view of `map`. None for a transaction without a flow: there is no filter either.
fn with<T>(access: &Access<'_>, map: HeaderMap, work: impl FnOnce(&mut Option<View>) -> T) -> Option<T> {
    let flow = flow::marked(access)?;
    let mut view = flow.framing().of(map).lock().unwrap_or_else(PoisonError::into_inner);
    Some(work(&mut view))
}

/// The fields as filters see them; none when they are those of the header.
#[inline]
pub(super) fn written(map: HeaderMap, header: &Header<'_>) -> Option<Vec<Field>> {
    if VIEWS.load(Ordering::Relaxed) == 0 { None } else { view_of(map, header) }
}

#[cold]
fn view_of(map: HeaderMap, header: &Header<'_>) -> Option<Vec<Field>> {
    with(header.access(), map, |view| view.as_ref().map(|view| view.0.clone()))?
}

/// Changes what filters see.
///
/// # Errors
/// It would grow beyond [`LIMIT`].
pub(super) fn write(
    map: HeaderMap,
    header: &Header<'_>,
    change: impl FnOnce(&mut Vec<Field>),
) -> Result<(), Status> {
    let changed = with(header.access(), map, |view| {
        let before = view.take().unwrap_or_else(|| View::new(own(header)));
        let mut fields = before.0.clone();
        change(&mut fields);
        let fits = size(&fields) <= size(&before.0).max(LIMIT);
        *view = Some(if fits { View::new(fields) } else { before });
        if fits { Ok(()) } else { Err(Status::BadArgument) }
    });
    changed.unwrap_or(Ok(()))
}

/// Bytes of names and values, and some for each field itself.
fn size(fields: &[Field]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
}

/// Filters see `fields` from here on.
pub(super) fn replace_all(map: HeaderMap, header: &Header<'_>, fields: Vec<Field>) {
    let differs = own(header) != fields;
    if differs || VIEWS.load(Ordering::Relaxed) != 0 {
        with(header.access(), map, |view| *view = differs.then(|| View::new(fields)));
    }
}

/// The message of `map` is another one: what was written into the old one is gone.
pub(crate) fn forget(access: &Access<'_>, map: HeaderMap) {
    if VIEWS.load(Ordering::Relaxed) != 0 {
        with(access, map, |view| *view = None);
    }
}

/// The framing fields that the header has.
pub(super) fn own(header: &Header<'_>) -> Vec<Field> {
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
