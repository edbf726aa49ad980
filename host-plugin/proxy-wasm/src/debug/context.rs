//! A transaction on the debug lane, in the hands of the proxy: hands callbacks to the slot and nothing
//! else. Called on event threads; every call returns at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmdbg_control::stop::ReleaseCause;
use wasmdbg_control::{FilterId, TransactionId};

use super::lane::DebugLane;
use super::rules::Candidate;
use super::slot::{Activity, Done, EffectSink, Ending, Job, Reply, Slot};
use crate::embedder::Transaction;
use crate::vm::entry::Callback;

/// A slot that is kept for a transaction. Dropped: the slot is free again.
pub struct Claim {
    held: Option<(Arc<DebugLane>, Arc<Slot>)>,
}

impl DebugLane {
    /// Decides at READ_REQUEST_HDR whether a session wants the transaction in its debug lane of `filter`,
    /// and if so claims a slot. `None`: the fast lane serves it.
    pub fn choose(
        self: &Arc<Self>,
        filter: FilterId,
        transaction: TransactionId,
        request: &Candidate<'_>,
    ) -> Option<Claim> {
        if !self.any_session() {
            return None;
        }
        let slot = self.slot_for(filter, transaction, request)?;
        Some(Claim { held: Some((Arc::clone(self), slot)) })
    }
}

impl Claim {
    /// Puts the transaction there. `transaction` is used on the slot's thread, for the length of each
    /// host call; `effects` is called there when something else than a callback of the transaction
    /// decides about it while it is parked.
    pub fn enter(mut self, transaction: Box<dyn Transaction>, effects: EffectSink) -> DebugContext {
        // Only dropping takes it otherwise.
        let held = self.held.take();
        if let Some((lane, slot)) = &held {
            let _measuring = lane.measure();
            slot.send(Job::Bind { transaction, effects });
        }
        DebugContext { held }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((lane, slot)) = self.held.take() {
            lane.unbind(&slot);
        }
    }
}

/// A transaction of the debug lane. Ended by [`DebugContext::end`], or by dropping it.
pub struct DebugContext {
    /// `None` once it is ended.
    held: Option<(Arc<DebugLane>, Arc<Slot>)>,
}

impl DebugContext {
    /// Queues a callback. The transaction stays parked until `done` is called on the slot's thread with
    /// its outcome; that can be before this returns.
    pub fn call(&self, callback: Callback, done: Done) {
        let Some((lane, slot)) = &self.held else { return };
        let _measuring = lane.measure();
        if let Some(bound) = &mut slot.lock().bound {
            bound.activity = Activity::Queued(callback.export());
        }
        slot.send(Job::Call { callback, done: Reply::new(done) });
        // The agent stands in for a thread that could not be made.
        if slot.orphan.load(Ordering::Acquire) {
            lane.wake();
        }
    }

    /// Takes the transaction back when its slot has not taken it, for want of a thread or of a virtual machine:
    /// its first callback has failed then. Its session has missed it, and the fast lane serves it.
    ///
    /// # Errors
    /// The context: the slot has taken the transaction, and what failed is the filter's.
    pub fn take_back(mut self) -> Result<(), Self> {
        let Some((lane, slot)) = self.held.take() else { return Ok(()) };
        let _measuring = lane.measure();
        if slot.lock().bound.as_ref().is_some_and(|bound| bound.entered) {
            self.held = Some((Arc::clone(&lane), slot));
            return Err(self);
        }
        lane.turn_away(&slot);
        Ok(())
    }

    /// Queues what ends a transaction: done, log and delete. `done` is called on the slot's thread when
    /// the filter has finished; the transaction must stay alive until then.
    pub fn end(mut self, ending: Ending, done: Box<dyn FnOnce() + Send>) {
        self.finish(ending, done);
    }

    /// The client is gone: a stop of this transaction is released, and it stops no more.
    pub fn client_gone(&self) {
        let Some((lane, slot)) = &self.held else { return };
        let _measuring = lane.measure();
        let stop = {
            let mut state = slot.lock();
            if let Some(bound) = &mut state.bound {
                bound.unstoppable = true;
            }
            // Another one, of a tick, is not this transaction's.
            state.stop.filter(|_| state.serving().is_some())
        };
        if let Some(stop) = stop
            && let Some(standing) = lane.tables().stops.get_mut(&stop)
        {
            standing.release(ReleaseCause::ClientGone);
        }
    }

    fn finish(&mut self, ending: Ending, done: Box<dyn FnOnce() + Send>) {
        let Some((lane, slot)) = self.held.take() else { return };
        let _measuring = lane.measure();
        slot.send(Job::End { ending, done: Reply::new(Box::new(move |_| done())) });
        if slot.orphan.load(Ordering::Acquire) {
            lane.wake();
        }
    }
}

impl Drop for DebugContext {
    fn drop(&mut self) {
        self.finish(Ending::default(), Box::new(|| {}));
    }
}
