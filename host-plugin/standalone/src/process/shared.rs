//! What all threads of the host share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{OnceCell, watch};
use wasmdbg_proxy_wasm::{DebugLane, Filter, Runtime};

use crate::report::Report;
use crate::upstream::Upstream;

/// How often it is looked at whether the debug lane has started.
const LOOK: Duration = Duration::from_millis(5);

/// See the module; made once, by [`crate::Host`].
pub(crate) struct Shared {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) filter: Arc<Filter>,
    /// The filter has started on the fast lane, or could not, before any request.
    pub(crate) started: OnceCell<()>,
    /// Changes when the filter has shown that it is a service.
    pub(crate) turned: watch::Sender<()>,
    pub(crate) lane: Arc<DebugLane>,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) report: Arc<dyn Report>,
    pub(crate) in_flight: AtomicU64,
    pub(crate) last_id: AtomicU64,
}

impl Shared {
    /// Waits while the filter starts in its debug lane.
    pub(crate) async fn lane_started(&self) {
        while self.lane.is_starting(self.filter.id()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
