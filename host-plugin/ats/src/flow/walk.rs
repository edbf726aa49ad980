//! The start of filters that have something to do without requests: a virtual machine of each comes to every event
//! thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::machines::seat_all;
use crate::plugin::plugin;
use crate::ts::{self, EventThread};

/// Pieces of work in a round of a [`Walk`] beside two for each thread that is known.
const MORE: usize = 16;

/// Seats virtual machines of filters that have something to do without requests on all event threads. On one of the
/// server's threads for tasks.
pub(crate) fn begin() {
    let Some(plugin) = plugin() else { return };
    if plugin.filters.iter().any(|filter| filter.runs_by_itself()) {
        Arc::new(Walk::default()).round();
    }
}

/// A walk over all event threads, which the server lists nowhere. It gives work to them one after the other, and to
/// others that ask meanwhile: so a round is longer than the threads that are known, and the last one finds no new.
#[derive(Default)]
struct Walk {
    known: Mutex<Vec<EventThread>>,
    /// Pieces of work of this round that are to come.
    coming: AtomicUsize,
}

impl Walk {
    fn known(&self) -> MutexGuard<'_, Vec<EventThread>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not on an event thread: the server would give it all of the work.
    fn round(self: Arc<Self>) {
        let known = self.known().len();
        let pieces = 2 * known + MORE;
        self.coming.store(pieces, Ordering::Release);
        for _ in 0..pieces {
            let walk = Arc::clone(&self);
            ts::post_in_turn(Box::new(move || walk.visit(known)));
        }
    }

    /// On an event thread. `before`: so many were known when the round began.
    fn visit(self: Arc<Self>, before: usize) {
        if let Some(here) = EventThread::current() {
            let new = {
                let mut known = self.known();
                let new = !known.contains(&here);
                if new {
                    known.push(here);
                }
                new
            };
            if new {
                seat_all();
            }
        }
        let last = self.coming.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && self.known().len() > before {
            ts::post_task(Box::new(move || self.round()));
        }
    }
}
