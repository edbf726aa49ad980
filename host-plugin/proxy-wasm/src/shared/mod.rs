//! What the virtual machines of a process have in common, of both lanes and on all threads, by `vm_id`: data and
//! queues; and the metrics of each filter. Locked only while a map is looked at: never while a guest runs, a value is copied or anybody is woken.

pub(crate) mod data;
pub(crate) mod metrics;
pub(crate) mod postbox;
pub(crate) mod queues;

use std::sync::Arc;

pub(crate) use self::data::SharedData;
pub(crate) use self::queues::SharedQueues;

/// What an entry takes beside its bytes, about: so that many small ones have a limit too.
const OVERHEAD: u64 = 64;

/// See the module. One for each process.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    data: data::Spaces,
    /// The queues of all filters: their numbers are good everywhere.
    pub(crate) queues: Arc<SharedQueues>,
}

impl Shared {
    /// The data of the virtual machines with this `vm_id`.
    pub(crate) fn data(&self, vm_id: &str) -> Arc<SharedData> {
        self.data.of(vm_id)
    }
}
