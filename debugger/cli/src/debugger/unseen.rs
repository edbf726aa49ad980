//! Stops that nobody has looked at.

use std::collections::{HashSet, VecDeque};

use wasmdbg_control::StopId;

/// Stops that wait to be looked at.
const MOST: usize = 1000;

/// Oldest first.
#[derive(Default)]
pub(super) struct Unseen {
    stops: VecDeque<StopId>,
    /// Those of them that the user was told of.
    announced: HashSet<StopId>,
}

impl Unseen {
    pub(super) fn push(&mut self, stop: StopId) {
        self.stops.push_back(stop);
        // The session forgets the oldest of too many as well.
        if self.stops.len() > MOST
            && let Some(oldest) = self.stops.pop_front()
        {
            self.announced.remove(&oldest);
        }
    }

    /// The oldest, which is not among them any more.
    pub(super) fn take(&mut self) -> Option<StopId> {
        self.stops.pop_front()
    }

    /// A stop that is looked at, or over.
    pub(super) fn forget(&mut self, stop: StopId) {
        self.stops.retain(|&unseen| unseen != stop);
        self.announced.remove(&stop);
    }

    /// Those that the user was not told of; from now on he was.
    pub(super) fn announce(&mut self) -> Vec<StopId> {
        self.stops.iter().copied().filter(|&stop| self.announced.insert(stop)).collect()
    }
}
