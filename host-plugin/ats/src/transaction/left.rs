//! What filters have left with a transaction and the server does not keep: the framing fields that they have written
//! ([`super::framing`]), and properties under names of their own.
//!
//! Made by the first such write of a transaction; until one exists, reading costs a look at one number. A
//! transaction has it from whichever thread, its home or that of a slot, and until it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxBuildHasher;
use wasmdbg_proxy_wasm::{HeaderMap, OwnProperties};

use super::framing::View;
use crate::ts::{Access, Txn};

/// What filters have left with one transaction.
#[derive(Default)]
struct Left {
    request: Option<View>,
    response: Option<View>,
    properties: OwnProperties,
}

impl Left {
    fn view(&mut self, map: HeaderMap) -> &mut Option<View> {
        if map == HeaderMap::RequestHeaders { &mut self.request } else { &mut self.response }
    }
}

/// That of all transactions with which filters have left something, until [`end`].
static LEFT: Mutex<HashMap<Txn, Left, FxBuildHasher>> = Mutex::new(HashMap::with_hasher(FxBuildHasher));

/// How many transactions are in there.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Held for the look at one, never while anything of the server runs.
fn left() -> MutexGuard<'static, HashMap<Txn, Left, FxBuildHasher>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is nothing of any transaction.
#[inline]
pub(super) fn is_empty() -> bool {
    COUNT.load(Ordering::Relaxed) == 0
}

/// The view of a map, if there is one.
pub(super) fn view(access: &Access<'_>, map: HeaderMap) -> Option<View> {
    left().get_mut(&access.txn())?.view(map).clone()
}

/// Puts a view in the place of the one before; none: what the header has.
pub(super) fn set_view(access: &Access<'_>, map: HeaderMap, view: Option<View>) {
    let mut all = left();
    match view {
        Some(view) => *all.entry(access.txn()).or_default().view(map) = Some(view),
        None => {
            if let Some(left) = all.get_mut(&access.txn()) {
                *left.view(map) = None;
            }
        }
    }
    COUNT.store(all.len(), Ordering::Relaxed);
}

/// Does `work` with the properties under names of filters' own, if there are any.
pub(super) fn properties(txn: Txn, work: &mut dyn FnMut(&OwnProperties)) {
    if !is_empty()
        && let Some(left) = left().get(&txn)
    {
        work(&left.properties);
    }
}

/// The same, to change them, or to leave the first one.
pub(super) fn properties_mut(txn: Txn, work: &mut dyn FnMut(&mut OwnProperties)) {
    let mut all = left();
    match all.get_mut(&txn) {
        Some(left) => work(&mut left.properties),
        None => {
            let mut properties = OwnProperties::default();
            work(&mut properties);
            if !properties.is_empty() {
                all.insert(txn, Left { properties, ..Left::default() });
            }
        }
    }
    COUNT.store(all.len(), Ordering::Relaxed);
}

/// The transaction is over.
#[inline]
pub(crate) fn end(txn: Txn) {
    if !is_empty() {
        let mut all = left();
        all.remove(&txn);
        COUNT.store(all.len(), Ordering::Relaxed);
    }
}
