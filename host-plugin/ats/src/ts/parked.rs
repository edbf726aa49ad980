//! A transaction in a hook of ours, and the right to let it go on from there.

use std::cell::Cell;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::access::{Access, Locked, lock};
use crate::sys::{self, TxnTag, api};

/// With which event a transaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// TS_EVENT_HTTP_CONTINUE
    Continue,
    /// TS_EVENT_HTTP_ERROR
    Error,
}

impl Event {
    pub(super) fn number(self) -> c_int {
        match self {
            Self::Continue => sys::event::HTTP_CONTINUE,
            Self::Error => sys::event::HTTP_ERROR,
        }
    }
}

/// A transaction in a hook of ours, on its home thread and with its mutex held.
///
/// It ends with what follows: the transaction goes on when the hook is over ([`Visit::go_on`]), or is parked
/// ([`Visit::park`]). Which is said once:
///
/// ```
/// use wasmdbg_ats::ts::{Event, Next, Visit};
///
/// fn handle<'hook>(visit: Visit<'hook>, ready: bool) -> Next<'hook> {
///     if ready {
///         return visit.go_on(Event::Continue);
///     }
///     let (parked, next) = visit.park();
///     std::thread::spawn(move || parked.reenable(Event::Continue));
///     next
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::{Event, Next, Visit};
///
/// fn handle<'hook>(visit: Visit<'hook>) -> Next<'hook> {
///     let next = visit.go_on(Event::Continue);
///     let (parked, _) = visit.park();
///     parked.reenable(Event::Continue);
///     next
/// }
/// ```
///
/// The access ends with it:
///
/// ```
/// use wasmdbg_ats::ts::{Event, Next, Visit};
///
/// fn handle<'hook>(visit: Visit<'hook>, seen: &mut Vec<u64>) -> Next<'hook> {
///     seen.push(visit.id());
///     visit.go_on(Event::Continue)
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::{Access, Event, Next, Visit};
///
/// fn handle<'hook>(visit: Visit<'hook>, seen: &mut Vec<&'hook Access<'hook>>) -> Next<'hook> {
///     seen.push(&visit);
///     visit.go_on(Event::Continue)
/// }
/// ```
#[derive(Debug)]
#[must_use = "its transaction waits for it"]
pub struct Visit<'hook> {
    access: Access<'hook>,
    parked: &'hook Cell<bool>,
    _hook: PhantomData<Brand<'hook>>,
}

/// What follows from a hook: made by its [`Visit`], and of no other.
#[derive(Debug)]
#[must_use = "its transaction waits for it"]
pub struct Next<'hook> {
    event: Option<Event>,
    _hook: PhantomData<Brand<'hook>>,
}

/// Of one hook alone: no lifetime stands for another.
type Brand<'hook> = fn(&'hook ()) -> &'hook ();

impl<'hook> Visit<'hook> {
    /// `parked` becomes true with [`Visit::park`].
    ///
    /// # Safety
    /// This thread holds the transaction's mutex in a hook of ours, and nobody else lets it go on.
    #[inline]
    pub(super) unsafe fn new(pointer: NonNull<TxnTag>, parked: &'hook Cell<bool>) -> Self {
        // SAFETY: by the caller.
        Self { access: unsafe { Access::new(pointer) }, parked, _hook: PhantomData }
    }

    /// The transaction goes on with `event`, once the hook's handler has returned.
    #[inline]
    pub fn go_on(self, event: Event) -> Next<'hook> {
        Next { event: Some(event), _hook: PhantomData }
    }

    /// The transaction stays in this hook until the right to let it go on is used.
    pub fn park(self) -> (Parked, Next<'hook>) {
        self.parked.set(true);
        (Parked(self.access.pointer()), Next { event: None, _hook: PhantomData })
    }
}

impl<'hook> Deref for Visit<'hook> {
    type Target = Access<'hook>;

    #[inline]
    fn deref(&self) -> &Access<'hook> {
        &self.access
    }
}

impl<'hook> DerefMut for Visit<'hook> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Access<'hook> {
        &mut self.access
    }
}

impl Next<'_> {
    /// With which event to re-enable the transaction; none: it is parked.
    #[inline]
    pub(super) fn event(self) -> Option<Event> {
        self.event
    }
}

/// The right to let a parked transaction go on, which is used once.
///
/// ```
/// use wasmdbg_ats::ts::{Event, Parked};
///
/// fn go_on(mut parked: Parked) {
///     drop(parked.lock());
///     parked.reenable(Event::Continue);
/// }
/// ```
///
/// ```compile_fail
/// use wasmdbg_ats::ts::{Event, Parked};
///
/// fn go_on(parked: Parked) {
///     parked.reenable(Event::Continue);
///     parked.reenable(Event::Continue);
/// }
/// ```
///
/// Nothing of the transaction is held any more when it does:
///
/// ```compile_fail
/// use wasmdbg_ats::ts::{Event, Parked};
///
/// fn go_on(mut parked: Parked) {
///     let access = parked.lock();
///     parked.reenable(Event::Continue);
///     drop(access);
/// }
/// ```
#[derive(Debug)]
#[must_use = "its transaction waits for it"]
pub struct Parked(NonNull<TxnTag>);

// SAFETY: the server takes a transaction back on any thread.
unsafe impl Send for Parked {}

impl Parked {
    /// Takes the transaction's mutex.
    pub fn lock(&mut self) -> Locked<'_> {
        let guard = lock(self.0);
        // SAFETY: the transaction is parked, and so is not over; the guard has its mutex.
        Locked { access: unsafe { Access::new(self.0) }, _guard: guard }
    }

    /// Lets the transaction go on from the hook where it stands. On the home thread this runs its next
    /// hooks, and can end it, before it returns: nothing may be borrowed, and nothing done afterwards. From
    /// other threads the server moves it home.
    pub fn reenable(self, event: Event) {
        // SAFETY: made by a `Visit`, which it ended; and this ends it.
        unsafe { (api().TSHttpTxnReenable)(self.0.as_ptr(), event.number()) };
    }
}
