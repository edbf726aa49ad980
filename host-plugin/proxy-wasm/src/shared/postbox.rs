//! Letters from other threads to the root context of a virtual machine, until its owner puts them into its mailbox.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vm::mailbox::Letter;

/// Has the owner of a virtual machine look into its postbox, soon. Called on any thread of the host that runs filters,
/// with no lock held.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(crate) struct Postbox {
    state: Mutex<State>,
    /// There may be letters: looked at without the lock.
    filled: AtomicBool,
    /// Letters that its guest has not had.
    outstanding: AtomicU32,
}

#[derive(Default)]
struct State {
    letters: VecDeque<Letter>,
    /// None while nobody owns the virtual machine.
    wake: Option<Wake>,
    /// One letter after the other: its owner can be stopped by a debugger.
    single: bool,
    /// The virtual machine is gone.
    closed: bool,
}

impl Postbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread owns the virtual machine from now on.
    pub(super) fn owned(&self, wake: Wake, single: bool) {
        let before = {
            let mut state = self.state();
            state.single = single;
            state.wake.replace(wake)
        };
        drop(before);
    }

    /// Whether letters are delivered that come now.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state();
        let busy = state.single && self.outstanding.load(Ordering::Acquire) > 0;
        !state.closed && state.wake.is_some() && !busy
    }

    /// Has `letter` delivered. It comes back when nobody would: see [`Postbox::is_open`].
    pub(super) fn post(&self, letter: Letter) -> Result<(), Letter> {
        let wake = {
            let mut state = self.state();
            let Some(wake) = state.wake.as_ref().filter(|_| !state.closed).map(Arc::clone) else {
                return Err(letter);
            };
            state.letters.push_back(letter);
            self.outstanding.fetch_add(1, Ordering::AcqRel);
            // The one before has woken the owner, which has not looked yet.
            (!self.filled.swap(true, Ordering::AcqRel)).then_some(wake)
        };
        if let Some(wake) = wake {
            wake();
        }
        Ok(())
    }

    /// The letters go to the owner, as long as `take` has room for one: it gives back what it does not take.
    #[inline]
    pub(crate) fn collect(&self, take: impl FnMut(Letter) -> Result<(), Letter>) {
        if self.filled.load(Ordering::Acquire) {
            self.collect_all(take);
        }
    }

    fn collect_all(&self, mut take: impl FnMut(Letter) -> Result<(), Letter>) {
        let mut state = self.state();
        while let Some(letter) = state.letters.pop_front() {
            if let Err(letter) = take(letter) {
                state.letters.push_front(letter);
                return;
            }
        }
        self.filled.store(false, Ordering::Release);
    }

    /// The guest has had one.
    pub(crate) fn delivered(&self) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
    }

    /// The virtual machine is gone: the letters that nobody has collected.
    pub(super) fn close(&self) -> VecDeque<Letter> {
        let (letters, wake) = {
            let mut state = self.state();
            state.closed = true;
            (std::mem::take(&mut state.letters), state.wake.take())
        };
        drop(wake);
        letters
    }
}

impl fmt::Debug for Postbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.state().letters.len();
        formatter.debug_struct("Postbox").field("waiting", &waiting).finish_non_exhaustive()
    }
}
