//! The way of one transaction through the filter, on either lane: its context, its callbacks, its end.
//! Knows no HTTP.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;
use wasmdbg_proxy_wasm::debug::{Candidate, Ending};
use wasmdbg_proxy_wasm::{Action, Callback, LocalResponse};

use crate::process::context::{DebuggedContext, FilterContext};
use crate::process::worker::Worker;
use crate::report::{Happening, Verdict};
use crate::transaction::exchange::{Exchange, ExchangeTransaction};

/// See the module. Dropped without [`Flow::finish`]: the client went away.
pub(crate) struct Flow {
    worker: Rc<Worker>,
    exchange: Arc<Exchange>,
    context: FilterContext,
}

/// How a transaction goes on.
pub(crate) enum Next {
    Pass,
    Respond(LocalResponse),
    Close,
}

impl Flow {
    /// Chooses the lane and makes the context.
    pub(crate) async fn begin(worker: &Rc<Worker>, exchange: &Arc<Exchange>) -> (Self, Next) {
        let mut flow =
            Self { worker: Rc::clone(worker), exchange: Arc::clone(exchange), context: FilterContext::None };
        let shared = &worker.shared;
        shared.lane_started().await;
        let header = |name: &str, value: &mut Vec<u8>| {
            let found = exchange.lock().request.get(name.as_bytes());
            found.is_some_and(|found| {
                value.extend_from_slice(&found);
                true
            })
        };
        let facts = || exchange.facts();
        let request = Candidate::new(&facts, &header);
        let transaction = Box::new(ExchangeTransaction::new(exchange));
        if let Some(claim) = shared.lane.choose(shared.filter.id(), exchange.id, &request) {
            let (sink, effects) = mpsc::unbounded_channel();
            let sink = Box::new(move |_, action| drop(sink.send(action)));
            flow.context =
                FilterContext::Debug(DebuggedContext::new(claim.enter(transaction, sink), effects));
            return (flow, Next::Pass);
        }
        if shared.filter.is_service() {
            return (flow, Next::Pass);
        }
        let action = flow.enter_fast(transaction).await;
        let next = flow.follow(action);
        (flow, next)
    }

    /// Makes the context in the fast lane.
    async fn enter_fast(&mut self, transaction: Box<ExchangeTransaction>) -> Action {
        if let Err(why) = self.worker.acquire().await {
            self.log(&why);
            return Action::Failed;
        }
        match self.worker.enter(None, |vm| vm.create_context(transaction)) {
            Some((generation, context, action)) => {
                self.context = FilterContext::Fast(generation, context);
                action
            }
            None => Action::Failed,
        }
    }

    /// Runs a callback, and waits while the filter parks the transaction.
    pub(crate) async fn call(&mut self, callback: Callback) -> Next {
        let filter = &self.worker.shared.filter;
        let wanted = filter.wants(callback);
        // In the debug lane the first one tells what the context's creation decided.
        let skipped = !wanted
            && !matches!(
                (&self.context, callback),
                (FilterContext::Debug(_), Callback::RequestHeaders { .. })
            );
        if skipped || matches!(self.context, FilterContext::None) {
            return Next::Pass;
        }
        let before = self.worker.shared.report.wants_callbacks().then(|| self.exchange.copy());
        let mut action = self.run(callback, wanted).await;
        if let Some(before) = before.filter(|_| wanted) {
            self.worker.shared.report.take(Happening::Callback {
                transaction: self.exchange.id,
                callback: callback.export(),
                debugged: matches!(self.context, FilterContext::Debug(_)),
                changes: self.exchange.changes(&before),
                verdict: Verdict::from(&action),
            });
        }
        if action == Action::Pause {
            action = match &mut self.context {
                FilterContext::None => Action::Continue,
                FilterContext::Fast(generation, context) => self.worker.park(*generation, *context).await,
                FilterContext::Debug(debugged) => debugged.decided().await,
            };
            if self.worker.shared.report.wants_callbacks() {
                let verdict = Verdict::from(&action);
                self.worker.shared.report.take(Happening::Resumed { transaction: self.exchange.id, verdict });
            }
        }
        self.follow(action)
    }

    async fn run(&mut self, callback: Callback, wanted: bool) -> Action {
        if let FilterContext::Debug(debugged) = &mut self.context {
            let action = debugged.call(callback).await;
            if action != Action::Failed || !debugged.take_back() {
                return action;
            }
            // As if no slot had been free.
            self.context = FilterContext::None;
            let transaction = Box::new(ExchangeTransaction::new(&self.exchange));
            let action = self.enter_fast(transaction).await;
            if action != Action::Continue || !wanted {
                return action;
            }
        }
        let FilterContext::Fast(generation, context) = self.context else { return Action::Continue };
        let entered = self.worker.enter(Some(generation), |vm| ((), vm.call(context, callback)));
        // Without its virtual machine the context is lost.
        entered.map_or(Action::Failed, |(_, (), action)| action)
    }

    /// Ends the context and waits until the filter is done with it.
    pub(crate) async fn finish(mut self, ending: Ending) {
        let context = std::mem::take(&mut self.context);
        self.worker.end(context, ending).await;
    }

    /// Ends the context without waiting.
    pub(crate) fn finish_later(mut self, ending: Ending) {
        let context = std::mem::take(&mut self.context);
        self.worker.end_later(context, ending);
    }

    fn follow(&mut self, action: Action) -> Next {
        match action {
            Action::Continue | Action::Pause => Next::Pass,
            Action::Respond(response) => Next::Respond(*response),
            Action::Close => Next::Close,
            Action::Failed => {
                let context = std::mem::take(&mut self.context);
                self.worker.end_later(context, Ending::default());
                if self.worker.shared.filter.config().fail_open {
                    Next::Pass
                } else {
                    Next::Respond(unavailable())
                }
            }
        }
    }

    fn log(&self, message: &str) {
        let shared = &self.worker.shared;
        let name = &shared.filter.config().name;
        shared.runtime.log(wasmdbg_proxy_wasm::Level::Error, name, Some(self.exchange.id), message);
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let context = std::mem::take(&mut self.context);
        if !matches!(context, FilterContext::None) {
            if let FilterContext::Debug(debugged) = &context {
                debugged.client_gone();
            }
            self.worker.end_later(context, Ending { status: None, aborted: true });
        }
    }
}

/// What a client gets where a filter that must run cannot.
fn unavailable() -> LocalResponse {
    LocalResponse {
        status: 503,
        details: b"filter_failed".to_vec(),
        body: b"the filter of this proxy cannot run\n".to_vec(),
        headers: Vec::new(),
    }
}
