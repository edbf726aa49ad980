//! The stops that a session knows.

use std::sync::Arc;

use wasmdbg_control::{SlotId, StopId};

use crate::error::Error;
use crate::stop::Stop;

/// Stops that are known at once: each keeps its frames, up to some mebibytes. Of more the oldest is forgotten,
/// and the proxy lets it go on at its deadline.
const MOST: usize = 128;

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Stops {
    stops: Vec<Arc<Stop>>,
}

impl Stops {
    pub(super) fn push(&mut self, stop: Arc<Stop>) {
        self.stops.push(stop);
        if self.stops.len() > MOST {
            self.stops.remove(0);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Stop>> {
        self.stops.clone()
    }

    pub(super) fn get(&self, id: StopId) -> Result<Arc<Stop>, Error> {
        self.stops.iter().find(|stop| stop.id() == id).cloned().ok_or(Error::StopOver(id))
    }

    /// Says whether it was known.
    pub(super) fn remove(&mut self, id: StopId) -> bool {
        let known = self.stops.len();
        self.stops.retain(|stop| stop.id() != id);
        self.stops.len() < known
    }

    /// A slot has one stop at a time: what stood in it is over.
    pub(super) fn leave(&mut self, slot: SlotId) {
        self.stops.retain(|stop| stop.info().slot != slot);
    }

    pub(super) fn clear(&mut self) {
        self.stops.clear();
    }
}
