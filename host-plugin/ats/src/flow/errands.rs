//! Work for event threads from threads that may not ask for it themselves: virtual machines that are made before the
//! server runs have one of ours, and their guests can send messages to others. The agent's thread asks for them.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wasmdbg_control::server::Waker;

use crate::ts::{self, EventThread, Work};

/// What the agent's thread has not asked for yet.
static WAITING: Mutex<Vec<(EventThread, Work)>> = Mutex::new(Vec::new());

/// Has the agent's thread look.
static WAKER: OnceLock<Waker> = OnceLock::new();

fn waiting() -> MutexGuard<'static, Vec<(EventThread, Work)>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on `thread` soon. On any thread that holds no lock of ours.
pub(crate) fn post(thread: EventThread, work: Work) {
    if ts::is_server_thread() {
        ts::post(thread, work);
        return;
    }
    waiting().push((thread, work));
    if let Some(waker) = WAKER.get() {
        waker.wake();
    }
}

/// From now on [`run`] is called after `waker` has been woken, on a thread of [`ts::spawn`].
pub(crate) fn set_waker(waker: Waker) {
    // Set once, by the one thread.
    let _ = WAKER.set(waker);
    run();
}

/// Asks for what others could not ask for.
pub(crate) fn run() {
    let errands = std::mem::take(&mut *waiting());
    errands.into_iter().for_each(|(thread, work)| ts::post(thread, work));
}
