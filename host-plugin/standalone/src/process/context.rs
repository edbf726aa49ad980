//! Where the filter's context of one transaction is: on which lane, and what is needed to speak to it there.

use tokio::sync::{mpsc, oneshot};
use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::debug::Ending;
use wasmdbg_proxy_wasm::{Action, Callback, DebugContext};

/// Names one virtual machine of a thread's fast lane: contexts of an earlier one are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Generation(pub(super) u32);

/// See the module.
#[derive(Default)]
pub(crate) enum FilterContext {
    /// There is none, or none any more.
    #[default]
    None,
    /// In the virtual machine of the thread.
    Fast(Generation, ContextId),
    /// In a slot of the debug lane.
    Debug(DebuggedContext),
}

/// A context in the debug lane. When it is dropped before its end nobody waits for it: a stop of it is released.
pub(crate) struct DebuggedContext {
    /// None once it has ended.
    context: Option<DebugContext>,
    /// What was decided about it outside its own callbacks.
    effects: mpsc::UnboundedReceiver<Action>,
}

impl DebuggedContext {
    pub(crate) fn new(context: DebugContext, effects: mpsc::UnboundedReceiver<Action>) -> Self {
        Self { context: Some(context), effects }
    }

    /// Runs a callback in the slot.
    pub(crate) async fn call(&mut self, callback: Callback) -> Action {
        // What was decided about an earlier park has been heeded.
        while self.effects.try_recv().is_ok() {}
        let Some(context) = &self.context else { return Action::Failed };
        let (sender, receiver) = oneshot::channel();
        context.call(callback, Box::new(move |outcome| drop(sender.send(outcome.action))));
        receiver.await.unwrap_or(Action::Failed)
    }

    /// Takes the transaction back from a slot that has not taken it; whether it was so.
    pub(crate) fn take_back(&mut self) -> bool {
        match self.context.take().map(DebugContext::take_back) {
            Some(Ok(())) => true,
            Some(Err(entered)) => {
                self.context = Some(entered);
                false
            }
            None => false,
        }
    }

    /// Waits until something else than a callback of it decides about it.
    pub(crate) async fn decided(&mut self) -> Action {
        self.effects.recv().await.unwrap_or(Action::Failed)
    }

    /// Its client went away: a stop of it is released.
    pub(crate) fn client_gone(&self) {
        if let Some(context) = &self.context {
            context.client_gone();
        }
    }

    /// Ends it: done, log, delete.
    pub(super) async fn end(mut self, ending: Ending) {
        let Some(context) = self.context.take() else { return };
        let (sender, receiver) = oneshot::channel();
        let done = move || {
            // The client may have gone meanwhile.
            let _ = sender.send(());
        };
        context.end(ending, Box::new(done));
        let _ = receiver.await;
    }
}

impl Drop for DebuggedContext {
    fn drop(&mut self) {
        self.client_gone();
    }
}
