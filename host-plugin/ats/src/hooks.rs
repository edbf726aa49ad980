//! The hooks of transactions: which flow they are for, and on which thread. Every call comes through
//! here, panics included.

use std::sync::Arc;

use crate::flow::{self, Flow, Wake, release};
use crate::plugin::plugin;
use crate::ts::{
    self, Access, ClientSession, ClientSessionHandler, Event, EventThread, Hook, HookHandler, Next, Visit,
};

/// See the module.
pub(crate) struct Hooks;

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
            Hook::SendResponseHeaders | Hook::TxnClose => match Flow::of(plugin, &visit) {
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
    fn started(session: &ClientSession) {
        if let Some(plugin) = plugin()
            && session.has_streams()
        {
            plugin.hook_streams(session);
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
