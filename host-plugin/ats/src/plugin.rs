//! What the plugin is in this process: its filters in order, and where transactions keep their flow.
//! Made once, before the server serves; never changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmdbg_proxy_wasm::debug::DebugLane;
use wasmdbg_proxy_wasm::{Filter, Runtime};

use crate::flow::Flow;
use crate::flow::parking::Watch;
use crate::hooks::Hooks;
use crate::ts::{self, Access, ArgSlot, ClientSession, Hook, HookContinuation};

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

/// See the module.
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
    slot: ArgSlot<Flow>,
    continuation: HookContinuation,
}

impl Plugin {
    /// Takes a place in transactions and a continuation from the server.
    ///
    /// # Errors
    /// The server has none left.
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        filters: Vec<Arc<Filter>>,
        socket: Option<PathBuf>,
    ) -> Result<Self, String> {
        let start_timeout = runtime.settings().start_timeout;
        let hooks_responses = filters.iter().any(|filter| filter.wants_response_headers());
        let continuation =
            HookContinuation::new::<Hooks>().ok_or("the server made no continuation (TSContCreate)")?;
        let lane = DebugLane::new(Arc::clone(&runtime));
        let (watch, slot) = (Watch::default(), ArgSlot::reserve()?);
        Ok(Self { runtime, filters, start_timeout, hooks_responses, socket, lane, watch, slot, continuation })
    }

    /// Makes it the plugin of this process and has the server call it.
    pub(crate) fn install(self) {
        let Some(plugin) = process::set_plugin(self) else { return };
        let mut hooks = vec![Hook::ReadRequestHeaders, Hook::TxnClose];
        if plugin.hooks_responses {
            hooks.push(Hook::SendResponseHeaders);
        }
        for hook in hooks {
            plugin.continuation.add_global(hook);
        }
        if plugin.socket.is_some() {
            ts::client_session_hook::<Hooks>();
        }
    }

    /// Has TXN_START of this session's transactions come here: for a stream the only chance to keep it alive
    /// when it will be parked in a debugger. Others are spared the hook.
    pub(crate) fn hook_streams(&self, session: &ClientSession) {
        session.add(&self.continuation, Hook::TxnStart);
    }

    /// Has SEND_RESPONSE_HDR of this one transaction come here.
    pub(crate) fn hook_response(&self, access: &mut Access<'_>) {
        self.continuation.add(access, Hook::SendResponseHeaders);
    }

    /// Marks a transaction with its flow, for hooks that come on another thread than the flow's home. The
    /// flow itself is kept there: [`crate::flow::worker::keep`].
    pub(crate) fn mark(&self, access: &Access<'_>, flow: &Arc<Flow>) {
        self.slot.set(access, flow);
    }

    /// The flow that a transaction is marked with.
    pub(crate) fn marked(&self, access: &Access<'_>) -> Option<Arc<Flow>> {
        self.slot.get(access)
    }
}
