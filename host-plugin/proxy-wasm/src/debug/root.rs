//! The root context of a slot, in the hands of the proxy: hands letters to the slot and nothing else. Called on
//! event threads; every call returns at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmdbg_control::FilterId;

use super::lane::DebugLane;
use super::slot::{Done, Job, Reply, Slot};
use crate::vm::mailbox::Letter;

/// The root context of a slot.
pub struct DebugRoot {
    lane: Arc<DebugLane>,
    slot: Arc<Slot>,
}

impl DebugLane {
    /// The root context of a slot of `filter`, for what is of no transaction: of one that has started and serves
    /// nobody, if there is one. `None`: nobody debugs the filter.
    pub fn root(self: &Arc<Self>, filter: FilterId) -> Option<DebugRoot> {
        if !self.any_session() {
            return None;
        }
        let tables = self.tables();
        let of_filter = tables.slots.iter().filter(|slot| slot.filter == filter && !slot.is_closing());
        let slot = of_filter.max_by_key(|slot| {
            let state = slot.lock();
            (state.ready, state.bound.is_none())
        })?;
        Some(DebugRoot { lane: Arc::clone(self), slot: Arc::clone(slot) })
    }
}

impl DebugRoot {
    /// Queues a letter. `done` is called on the slot's thread when the letter's callback has returned: Failed when
    /// the guest died or the slot is gone.
    pub fn post(self, letter: Letter, done: Done) {
        let _measuring = self.lane.measure();
        self.slot.send(Job::Post { letter, done: Reply::new(done) });
        if self.slot.orphan.load(Ordering::Acquire) {
            self.lane.wake();
        }
    }
}
