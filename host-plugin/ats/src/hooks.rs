//! The hooks of transactions: which flow they are for, and on which thread. Every call comes through
//! here, panics included.

use std::sync::Arc;

use crate::answer::{self, Answer};
use crate::flow::Flow;
use crate::plugin::{Plugin, plugin};
use crate::ts::{self, Event, EventThread, Hook, HookHandler, Txn};
use crate::worker;

/// See the module.
pub(crate) struct Hooks;

impl HookHandler for Hooks {
    fn handle(hook: Hook, txn: Txn) -> Option<Event> {
        let (Some(plugin), Some(here)) = (plugin(), EventThread::current()) else {
            return Some(Event::Continue);
        };
        let event = match hook {
            Hook::TxnStart => {
                if plugin.lane.any_session() {
                    let flow = Flow::new(plugin, txn, here);
                    flow.prepare_parking();
                    plugin.remember(txn, &flow);
                }
                Some(Event::Continue)
            }
            Hook::ReadRequestHeaders => begin(plugin, txn, here),
            Hook::SendResponseHeaders => later(plugin, txn, here, Flow::response),
            Hook::TxnClose => {
                let event = later(plugin, txn, here, Flow::close);
                if event.is_some() {
                    plugin.forget(txn);
                }
                event
            }
        };
        // Others may wait for what this one did. They go on before it does, with nothing borrowed.
        worker::deliver();
        event
    }

    fn panicked(hook: Hook, txn: Txn, reason: &str) -> Option<Event> {
        ts::error(&format!("a fault of this plugin, please report it: a panic in {hook:?}: {reason}"));
        let Some(plugin) = plugin() else { return Some(Event::Continue) };
        let passes = plugin.flow(txn).is_none_or(|flow| flow.abandon());
        match hook {
            Hook::TxnClose => plugin.forget(txn),
            Hook::TxnStart => {}
            Hook::ReadRequestHeaders | Hook::SendResponseHeaders if passes => {}
            Hook::ReadRequestHeaders => drop(Answer::give(txn, answer::unavailable())),
            Hook::SendResponseHeaders => {
                drop(Answer::give(txn, answer::unavailable()));
                return Some(Event::Error);
            }
        }
        Some(Event::Continue)
    }
}

/// READ_REQUEST_HDR
fn begin(plugin: &'static Plugin, txn: Txn, here: EventThread) -> Option<Event> {
    // A transaction has a flow already when somebody was attached at its start, or when it begins anew.
    let flow = plugin.flow(txn).unwrap_or_else(|| {
        let flow = Flow::new(plugin, txn, here);
        plugin.remember(txn, &flow);
        flow
    });
    if flow.home() == here {
        return flow.request();
    }
    flow.hop();
    ts::post(flow.home(), Box::new(move || flow.at_home(Flow::request)));
    None
}

/// A later hook.
fn later(
    plugin: &'static Plugin,
    txn: Txn,
    here: EventThread,
    stage: fn(&Arc<Flow>) -> Option<Event>,
) -> Option<Event> {
    // A request that could not be read has a response and no flow.
    let Some(flow) = plugin.flow(txn) else { return Some(Event::Continue) };
    if flow.home() == here {
        return stage(&flow);
    }
    flow.hop();
    ts::post(flow.home(), Box::new(move || flow.at_home(stage)));
    None
}
