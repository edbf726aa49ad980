//! Waiting for what the proxy does: the next stop, the end of a step, or the end of the request that
//! was let go. Owns the choice of what is looked at next.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use wasmdbg_control::stop::Context;
use wasmdbg_control::{SlotId, StopId, TransactionId};
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{Error, SessionEvent, Step, Stop};

use super::{Debugger, Mode};
use crate::failure::{Failure, fail};
use crate::terminal::input::Input;

/// What ends a wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// Any stop, or that all requests have been played; at a prompt also the end of what was let go.
    Stop {
        /// What was let go, if anything was.
        resumed: Option<Resumed>,
    },
    /// The stop that an interrupt makes.
    Interrupt,
    /// A stop or the end of the callback in this slot.
    Step(SlotId),
}

/// What was let go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resumed {
    /// A request.
    Transaction(TransactionId),
    /// A callback of the filter itself, in this slot.
    Root(SlotId),
}

impl Resumed {
    pub(crate) fn of(stop: &Stop) -> Self {
        match &stop.info().context {
            Context::Stream { transaction, .. } => Self::Transaction(*transaction),
            Context::Root { .. } => Self::Root(stop.info().slot),
        }
    }
}

impl Debugger {
    /// Waits, and looks at the stop that came.
    pub(crate) fn wait(&mut self, until: Until, timeout: Option<Duration>) -> Result<(), Failure> {
        self.open();
        let started = Instant::now();
        let end = timeout.and_then(|timeout| started.checked_add(timeout));
        if let Until::Stop { .. } | Until::Interrupt = until
            && self.select_unseen()
        {
            return Ok(());
        }
        loop {
            while let Some(event) = self.session.next_event(Duration::ZERO) {
                if self.is_end(&event, until) {
                    return self.conclude(event);
                }
                self.take(event)?;
            }
            if let Until::Stop { .. } = until
                && self.is_played()
            {
                self.console.say("all requests have been played");
                return Ok(());
            }
            match self.next_input(end) {
                Ok(Input::Interrupt | Input::Cancelled) => match self.session.interrupt(None) {
                    // The stop is on its way.
                    Ok(_) => {}
                    Err(error) if self.user.mode == Mode::Terminal => {
                        self.console.say(&format!("not waiting any more: {error}"));
                        return Ok(());
                    }
                    Err(error) => fail!("interrupted: {error}"),
                },
                // Nothing is read while a command runs.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let waited = show_duration(timeout.unwrap_or_default());
                    return Err(Failure::NoStop(format!(
                        "nothing has stopped within {waited}: did a request match (`transactions`), and is the \
                         breakpoint bound (`info breakpoints`)?"
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => fail!("interrupted"),
            }
        }
    }

    fn next_input(&self, end: Option<Instant>) -> Result<Input, RecvTimeoutError> {
        match end {
            Some(end) => self.user.inputs.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => self.user.inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Whether this is what was waited for.
    fn is_end(&self, event: &SessionEvent, until: Until) -> bool {
        let prompt = self.user.mode != Mode::Batch;
        match (event, until) {
            (SessionEvent::Stopped(_), Until::Stop { .. } | Until::Interrupt) => true,
            (SessionEvent::Stopped(stop), Until::Step(slot)) => stop.info().slot == slot,
            (SessionEvent::CallbackEnded { ended, .. }, Until::Step(slot)) => ended.slot == slot,
            (
                SessionEvent::CallbackEnded { ended, .. },
                Until::Stop { resumed: Some(Resumed::Root(slot)) },
            ) => prompt && ended.slot == slot,
            (
                SessionEvent::TransactionEnded(ended),
                Until::Stop { resumed: Some(Resumed::Transaction(id)) },
            ) => prompt && ended.id == id,
            _ => false,
        }
    }

    fn conclude(&mut self, event: SessionEvent) -> Result<(), Failure> {
        match event {
            SessionEvent::Stopped(stop) => self.select(stop),
            SessionEvent::CallbackEnded { ended, .. } => self.show_callback_end(&ended),
            other => self.take(other)?,
        }
        Ok(())
    }

    /// Works on everything that has come so far. Stops are kept for whoever waits for them: a command
    /// that was typed before its user could see a stop must not be taken for an answer to it.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.session.next_event(Duration::ZERO) {
            self.take(event)?;
        }
        Ok(())
    }

    /// At the prompt: shows what has come, a stop among it.
    pub(crate) fn show_news(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.session.next_event(Duration::ZERO) {
            self.take(event)?;
            self.select_if_none();
        }
        self.select_if_none();
        for id in self.unseen.announce() {
            if let Ok(stop) = self.session.stop(id) {
                self.announce(&stop);
            }
        }
        Ok(())
    }

    fn select_if_none(&mut self) {
        if self.selection.current().is_none() {
            self.select_unseen();
        }
    }

    /// One event that nobody waits for.
    fn take(&mut self, event: SessionEvent) -> Result<(), Failure> {
        match event {
            SessionEvent::Stopped(stop) => self.unseen.push(stop.id()),
            SessionEvent::Disconnected(why) => {
                self.gone = true;
                return Err(Failure::Gone(why));
            }
            other => self.show_event(other),
        }
        Ok(())
    }

    /// Looks at the oldest stop that nobody has looked at; says whether there was one.
    fn select_unseen(&mut self) -> bool {
        while let Some(id) = self.unseen.take() {
            // It may have gone on by itself.
            if let Ok(stop) = self.session.stop(id) {
                self.select(stop);
                return true;
            }
        }
        false
    }

    /// Looks at `stop` from now on, and shows it.
    pub(crate) fn select(&mut self, stop: Arc<Stop>) {
        self.unseen.forget(stop.id());
        if let Context::Stream { transaction, .. } = &stop.info().context {
            self.stopped_once.insert(*transaction, stop.summary().thread);
        }
        self.selection.look_at(Arc::clone(&stop));
        self.show_stop(&stop);
    }

    /// Forgets a stop that is over.
    pub(super) fn forget(&mut self, id: StopId) {
        self.unseen.forget(id);
        if self.selection.is(id) {
            self.selection.clear();
        }
    }

    /// Resumes the selected stop, if there is one.
    pub(crate) fn let_go(&mut self, step: Step) -> Result<Option<Resumed>, Failure> {
        let Some(selected) = self.selection.current().cloned() else { return Ok(None) };
        let stop = &selected.stop;
        match self.session.resume(stop.id(), step) {
            Ok(()) => self.forget(stop.id()),
            Err(error @ Error::StopOver(_)) => {
                self.forget(stop.id());
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Some(Resumed::of(stop)))
    }
}
