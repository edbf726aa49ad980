//! What the plugin is in this process: its filters in order, and what their transactions have in common. Made
//! once, before the server serves; never changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmdbg_proxy_wasm::debug::DebugLane;
use wasmdbg_proxy_wasm::{Filter, Runtime};

use crate::flow::watch::Watch;
use crate::ts::HookContinuation;

#[cfg(test)]
use crate::double as process;

pub(crate) use process::plugin;

#[cfg(not(test))]
mod process {
    use std::sync::OnceLock;

    use super::Plugin;

    static PLUGIN: OnceLock<Plugin> = OnceLock::new();

    /// The plugin, once [`Plugin::install`] has run.
    pub(crate) fn plugin() -> Option<&'static Plugin> {
        PLUGIN.get()
    }

    /// None when there is one already.
    pub(super) fn set_plugin(plugin: Plugin) -> Option<&'static Plugin> {
        PLUGIN.set(plugin).ok().and_then(|()| PLUGIN.get())
    }
}

/// The filters of this process, and where their transactions go.
pub(crate) struct Plugin {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) filters: Vec<Arc<Filter>>,
    /// How long a transaction may wait for a virtual machine.
    pub(crate) start_timeout: Duration,
    /// SEND_RESPONSE_HDR of every transaction comes here.
    pub(crate) hooks_responses: bool,
    /// Where the control socket is; none when it is switched off.
    pub(crate) socket: Option<PathBuf>,
    /// Where transactions go that somebody debugs.
    pub(crate) lane: Arc<DebugLane>,
    /// Those of them that are parked.
    pub(crate) watch: Watch,
    /// What the server calls at hooks.
    pub(crate) continuation: HookContinuation,
}

impl Plugin {
    /// `continuation`: what the server is to call.
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        filters: Vec<Arc<Filter>>,
        socket: Option<PathBuf>,
        continuation: HookContinuation,
    ) -> Self {
        let start_timeout = runtime.settings().start_timeout;
        let hooks_responses = filters.iter().any(|filter| filter.wants_response_headers());
        let (lane, watch) = (DebugLane::new(Arc::clone(&runtime)), Watch::default());
        Self { runtime, filters, start_timeout, hooks_responses, socket, lane, watch, continuation }
    }

    /// Makes it the plugin of this process. None when there is one already.
    pub(crate) fn install(self) -> Option<&'static Self> {
        process::set_plugin(self)
    }
}
