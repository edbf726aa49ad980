//! The hooks of transactions: which flow they are for, and on which thread. Every call comes through
//! here, panics included.

use std::sync::Arc;

use crate::flow::{self, Flow, Wake, release};
use crate::plugin::{Plugin, plugin};
use crate::ts::{
    self, Access, ClientSession, ClientSessionHandler, Event, EventThread, Hook, HookContinuation,
    HookHandler, Next, Visit,
};

/// What the server calls at hooks, for the plugin of this process.
///
/// # Errors
/// The server makes none, or has no place left in transactions.
pub(crate) fn continuation() -> Result<HookContinuation, String> {
    flow::reserve_mark()?;
    HookContinuation::new::<Hooks>()
        .ok_or_else(|| "the server made no continuation (TSContCreate)".to_owned())
}

/// Has the server call the plugin of this process.
pub(crate) fn register(plugin: &Plugin) {
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

struct Hooks;

impl HookHandler for Hooks {
    fn handle(hook: Hook, mut visit: Visit<'_>) -> Next<'_> {
        let Some(plugin) = plugin() else { return visit.go_on(Event::Continue) };
        // Nothing at TXN_START but while somebody is attached: see `parking`.
        if hook == Hook::TxnStart && !plugin.lane.any_session() {
            return visit.go_on(Event::Continue);
        }
        let Some(here) = EventThread::current() else { return visit.go_on(Event::Continue) };
        let next = match hook {
            Hook::TxnStart => {
                Flow::start(plugin, &mut visit, here);
                return visit.go_on(Event::Continue);
            }
            Hook::ReadRequestHeaders => {
                at_home(Flow::of_request(plugin, &visit, here), visit, here, Flow::request)
            }
            Hook::SendResponseHeaders | Hook::TxnClose => match Flow::of(&visit) {
                Some(flow) if hook == Hook::TxnClose => at_home(flow, visit, here, Flow::close),
                Some(flow) => at_home(flow, visit, here, Flow::response),
                // A request that could not be read has a response and no flow.
                None => visit.go_on(Event::Continue),
            },
        };
        // Others may wait for what this one did. They go on before it does, with nothing borrowed.
        release::run();
        next
    }

    fn panicked<'hook>(hook: Hook, mut visit: Visit<'hook>, reason: &str) -> Next<'hook> {
        match flow::panicked(hook, &mut visit, reason) {
            Ok(event) => visit.go_on(event),
            Err(flow) => flow.park(visit),
        }
    }
}

impl ClientSessionHandler for Hooks {
    /// TXN_START of a stream is the only chance to keep it alive when it will be parked in a debugger: it comes
    /// here for sessions that have streams. Others are spared the hook.
    fn started(session: &ClientSession) {
        if let Some(plugin) = plugin()
            && session.has_streams()
        {
            session.add(&plugin.continuation, Hook::TxnStart);
        }
    }
}

/// Does a hook's work, at the flow's home.
fn at_home<'hook>(
    flow: Arc<Flow>,
    mut visit: Visit<'hook>,
    here: EventThread,
    stage: fn(&Arc<Flow>, &mut Access<'_>) -> Option<Event>,
) -> Next<'hook> {
    if flow.home() != here {
        flow.hop();
        let next = flow.park(visit);
        ts::post(flow.home(), Box::new(move || release::wake(flow, Wake::Hook(stage))));
        return next;
    }
    match stage(&flow, &mut visit) {
        Some(event) => visit.go_on(event),
        None => flow.park(visit),
    }
}
