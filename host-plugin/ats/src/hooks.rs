//! The hooks of transactions: which flow they are for, and on which thread. Every call comes through
//! here, panics included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::flow::answer::{self, Answer};
use crate::flow::release;
use crate::flow::worker;
use crate::flow::{Flow, Wake};
use crate::plugin::{Plugin, plugin};
use crate::ts::{self, ClientSession, ClientSessionHandler, Event, EventThread, Hook, HookHandler, Txn};

/// See the module.
pub(crate) struct Hooks;

impl HookHandler for Hooks {
    fn handle(hook: Hook, txn: Txn) -> Option<Event> {
        let Some(plugin) = plugin() else { return Some(Event::Continue) };
        // Nothing at TXN_START but while somebody is attached: see `parking`.
        if hook == Hook::TxnStart && !plugin.lane.any_session() {
            return Some(Event::Continue);
        }
        let Some(here) = EventThread::current() else { return Some(Event::Continue) };
        if hook == Hook::TxnStart {
            return start(plugin, txn, here);
        }
        let known = worker::flow(txn);
        let event = match hook {
            Hook::TxnStart | Hook::ReadRequestHeaders => {
                at_home(begun(plugin, txn, here, known), here, Flow::request)
            }
            // A request that could not be read has a response and no flow.
            Hook::SendResponseHeaders => match known.or_else(|| plugin.marked(txn)) {
                Some(flow) => at_home(flow, here, Flow::response),
                None => Some(Event::Continue),
            },
            Hook::TxnClose => match known.or_else(|| plugin.marked(txn)) {
                Some(flow) => at_home(flow, here, Flow::close),
                None => Some(Event::Continue),
            },
        };
        // Others may wait for what this one did. They go on before it does, with nothing borrowed.
        release::run();
        event
    }

    fn panicked(hook: Hook, txn: Txn, reason: &str) -> Option<Event> {
        // What was decided about others before: this thread may have no further hook or event.
        release::run_later();
        ts::error(&format!("a fault of this plugin, please report it: a panic in {hook:?}: {reason}"));
        let flow = worker::flow(txn);
        let passes = flow.as_ref().is_none_or(|flow| flow.abandon());
        if hook == Hook::TxnClose {
            return flow.map_or(Some(Event::Continue), |flow| flow.end_debugged());
        }
        if passes || hook == Hook::TxnStart {
            return Some(Event::Continue);
        }
        drop(Answer::give(txn, answer::unavailable()));
        Some(if hook == Hook::ReadRequestHeaders { Event::Continue } else { Event::Error })
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

/// Transactions whose flow was made before their request was read: nobody else needs to ask for one.
static EARLY: AtomicUsize = AtomicUsize::new(0);

/// TXN_START of a stream while somebody is attached: what may be parked must be kept alive from here on.
fn start(plugin: &'static Plugin, txn: Txn, here: EventThread) -> Option<Event> {
    EARLY.fetch_add(1, Ordering::Relaxed);
    let flow = Flow::new(plugin, txn, here);
    flow.prepare_parking();
    plugin.mark(txn, &flow);
    worker::keep(txn, flow);
    Some(Event::Continue)
}

/// READ_REQUEST_HDR: a flow that was made at TXN_START, or a new one.
fn begun(plugin: &'static Plugin, txn: Txn, here: EventThread, known: Option<Arc<Flow>>) -> Arc<Flow> {
    let early = known.or_else(|| if EARLY.load(Ordering::Relaxed) == 0 { None } else { plugin.marked(txn) });
    if let Some(flow) = early.filter(|flow| flow.is_early()) {
        return flow;
    }
    let flow = Flow::new(plugin, txn, here);
    plugin.mark(txn, &flow);
    worker::keep(txn, Arc::clone(&flow));
    flow
}

/// A flow of [`start`] is over.
pub(crate) fn early_ended() {
    EARLY.fetch_sub(1, Ordering::Relaxed);
}

/// Does a hook's work, at the flow's home.
fn at_home(flow: Arc<Flow>, here: EventThread, stage: fn(&Arc<Flow>) -> Option<Event>) -> Option<Event> {
    if flow.home() == here {
        return stage(&flow);
    }
    flow.hop();
    ts::post(flow.home(), Box::new(move || release::wake(flow, Wake::Hook(stage))));
    None
}
