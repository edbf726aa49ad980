//! The way to a transaction: its name, the access to it while its mutex is held, and what a stream context
//! keeps of it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::mutex::Guard;
use crate::sys::{self, TxnTag, api};

/// The name of a transaction: by it one finds what belongs to it, and nothing of the server can be asked
/// through it. Another transaction may have it once this one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Txn(usize);

/// A transaction whose mutex this thread holds, for as long as it does: in a hook of it
/// ([`Visit`](super::Visit)), or under a lock.
///
/// What it gives (headers, URLs, connections, texts) is borrowed from it and goes no further:
///
/// ```
/// use wasmdbg_ats::ts::Access;
///
/// fn size(access: &Access<'_>) -> usize {
///     access.client_request().map_or(0, |request| request.method().len())
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::{Access, Header};
///
/// fn keep(access: &Access<'_>) -> Option<Header<'static>> {
///     access.client_request()
/// }
/// ```
///
/// A message is changed by one at a time, and while nobody holds a text of it:
///
/// ```
/// use wasmdbg_ats::ts::Access;
///
/// fn twice(access: &mut Access<'_>) {
///     let method = access.client_request().map(|request| request.method().to_vec());
///     let request = access.client_request_mut();
///     drop((request, method));
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::Access;
///
/// fn twice(access: &mut Access<'_>) {
///     let method = access.client_request();
///     let request = access.client_request_mut();
///     drop((request, method));
/// }
/// ```
#[derive(Debug)]
pub struct Access<'txn> {
    pointer: NonNull<TxnTag>,
    _loan: PhantomData<&'txn mut ()>,
}

thread_local! {
    /// The transaction that [`Access::lend`] lends to what runs on this thread.
    static LENT: Cell<Option<NonNull<TxnTag>>> = const { Cell::new(None) };
}

/// While it lives, a transaction is lent.
struct Lending {
    before: Option<NonNull<TxnTag>>,
}

impl Drop for Lending {
    fn drop(&mut self) {
        LENT.set(self.before);
    }
}

/// What a stream context keeps of its transaction, for the host functions of its filter.
///
/// The one thing that outlives a hook: a context is deleted before its transaction's TXN_CLOSE is re-enabled,
/// in both lanes, and its lease with it. `transaction::StreamTransaction` alone has any.
#[derive(Debug)]
pub(crate) struct Lease(NonNull<TxnTag>);

// SAFETY: it is used with the transaction's mutex held, on whichever thread that is.
unsafe impl Send for Lease {}

impl Lease {
    /// The transaction for the length of one call: the one that this thread's hook has lent, or under its
    /// mutex.
    #[inline]
    pub(crate) fn access(&mut self) -> Locked<'_> {
        let lent = LENT.get() == Some(self.0);
        let guard = if lent { None } else { lock(self.0) };
        // SAFETY: the mutex is held, by the hook or the guard, as long as the loan lives.
        Locked { access: unsafe { Access::new(self.0) }, _guard: guard }
    }
}

/// A transaction under its mutex, which is released when this is dropped.
pub struct Locked<'txn> {
    pub(super) access: Access<'txn>,
    pub(super) _guard: Option<Guard>,
}

impl<'txn> Deref for Locked<'txn> {
    type Target = Access<'txn>;

    #[inline]
    fn deref(&self) -> &Access<'txn> {
        &self.access
    }
}

impl<'txn> DerefMut for Locked<'txn> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Access<'txn> {
        &mut self.access
    }
}

/// Takes a transaction's mutex; recursive.
pub(super) fn lock(pointer: NonNull<TxnTag>) -> Option<Guard> {
    // SAFETY: the caller's transaction is not over; a transaction is a continuation, so it has a mutex.
    Guard::lock(unsafe { (api().TSContMutexGet)(pointer.as_ptr().cast()) })
}

impl<'txn> Access<'txn> {
    /// # Safety
    /// The transaction is not over, and this thread holds its mutex, as long as `'txn`.
    #[inline]
    pub(super) unsafe fn new(pointer: NonNull<TxnTag>) -> Self {
        Self { pointer, _loan: PhantomData }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> sys::TSHttpTxn {
        self.pointer.as_ptr()
    }

    pub(super) fn pointer(&self) -> NonNull<TxnTag> {
        self.pointer
    }

    /// The same transaction for as long as it is borrowed here, for a header of it.
    pub(super) fn again(&self) -> Access<'_> {
        Access { pointer: self.pointer, _loan: PhantomData }
    }

    /// Its name.
    #[inline]
    pub fn txn(&self) -> Txn {
        Txn(self.pointer.as_ptr().addr())
    }

    /// For a stream context of it: see [`Lease`].
    pub(crate) fn lease(&self) -> Lease {
        Lease(self.pointer)
    }

    /// Does `work`, in which leases of this transaction need no mutex. Borrowed from here is nothing
    /// meanwhile.
    #[inline]
    pub(crate) fn lend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let _lending = Lending { before: LENT.replace(Some(self.pointer)) };
        work()
    }
}

#[cfg(test)]
impl Access<'static> {
    /// One of a server in memory.
    pub(crate) fn in_memory(transaction: &'static crate::double::Transaction) -> Self {
        Self { pointer: NonNull::from(transaction).cast(), _loan: PhantomData }
    }
}
