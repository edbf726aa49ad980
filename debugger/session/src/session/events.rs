//! What the proxy says, and what becomes of it: a stop that somebody sees, or a step or a breakpoint's condition
//! that lets the slot run on.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use wasmdbg_control::Event;
use wasmdbg_control::stop::{ReleaseCause, Released, ResumeMode, StopReason, Stopped};

use super::Session;
use crate::breakpoints::Verdict;
use crate::error::Error;
use crate::event::SessionEvent;
use crate::stepping::{Next, Plan};
use crate::stop::Stop;
use crate::target::Target;

impl Session {
    /// Waits for the next event; `None` when none came within `timeout`. After
    /// [`SessionEvent::Disconnected`] every call returns that again.
    pub fn next_event(&mut self, timeout: Duration) -> Option<SessionEvent> {
        let end = Instant::now().checked_add(timeout);
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    if let Some(event) = self.handle(event) {
                        return Some(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.stops.clear();
                    self.plans.clear();
                    let why = self.client.fault().map_or_else(
                        || "the connection to the proxy is gone".into(),
                        |fault| fault.to_string(),
                    );
                    return Some(SessionEvent::Disconnected(why));
                }
            }
        }
    }

    /// Works on one event of the connection; `None` when it is the session's own business (a step that
    /// goes on). For front ends that receive the client's events themselves.
    pub fn handle(&mut self, event: Event) -> Option<SessionEvent> {
        match event {
            Event::Stopped(stopped) => self.stopped(*stopped),
            Event::Released(released) => self.released(released),
            Event::CallbackEnded(ended) => {
                let ended_step = self.plans.remove(&ended.slot).is_some();
                self.stops.leave(ended.slot);
                Some(SessionEvent::CallbackEnded { ended, ended_step })
            }
            Event::LaneProgress(progress) => Some(SessionEvent::LaneProgress(progress)),
            Event::DeadlineWarning(warning) => Some(SessionEvent::DeadlineWarning(warning)),
            Event::TransactionStarted(info) => Some(SessionEvent::TransactionStarted(info)),
            Event::TransactionEnded(ended) => Some(SessionEvent::TransactionEnded(ended)),
            Event::Missed(missed) => Some(SessionEvent::Missed(missed)),
            Event::Log(line) => Some(SessionEvent::Log(line)),
            Event::LaneFailed(failed) => Some(SessionEvent::LaneFailed(failed)),
        }
    }

    fn stopped(&mut self, mut info: Stopped) -> Option<SessionEvent> {
        // There is no other memory that it could be missing.
        info.fresh_vm &= !self.launched;
        let symbols = self.modules.get(info.module).and_then(|loaded| loaded.symbols.clone());
        let target = Arc::new(Target::new(self.client.clone(), info, symbols));
        let info = target.info();
        self.stops.leave(info.slot);
        let plan = self.plans.remove(&info.slot);
        let stop = match &info.reason {
            // Who does not control a stop cannot let it go on: it is shown as it is.
            StopReason::Breakpoint { ids } if info.control && !ids.is_empty() => {
                self.at_breakpoints(&target, ids, plan)?
            }
            StopReason::Breakpoint { ids } => {
                let hidden = self.breakpoints.hidden_at(&target, ids);
                Stop::new(Arc::clone(&target), hidden, info.reason.clone())
            }
            StopReason::Step => {
                let returned = plan.as_ref().and_then(|plan| plan.returned(&target));
                let hidden = match plan.map(|plan| self.go_on(&target, plan, Plan::arrived)) {
                    Some(Ok(None)) => return None,
                    Some(Ok(Some(hidden))) => hidden,
                    // The step cannot be finished; where it stands is a stop as good as any.
                    Some(Err(_)) | None => 0,
                };
                Stop::new(Arc::clone(&target), hidden, StopReason::Step).with_returned(returned)
            }
            StopReason::Interrupt | StopReason::Trap { .. } => {
                Stop::new(Arc::clone(&target), 0, info.reason.clone())
            }
        };
        let stop = Arc::new(stop);
        self.stops.push(Arc::clone(&stop));
        Some(SessionEvent::Stopped(stop))
    }

    /// A slot stands at breakpoints of this session: a stop if one of them wants it, else it goes on
    /// (`None`), with the step that was under way.
    fn at_breakpoints(&mut self, target: &Arc<Target>, ids: &[u32], plan: Option<Plan>) -> Option<Stop> {
        let hidden = self.breakpoints.hidden_at(target, ids);
        let stop = |reason| Stop::new(Arc::clone(target), hidden, reason);
        let here = stop(target.info().reason.clone());
        let (mut hit, mut notes) = (Vec::new(), Vec::new());
        for (number, verdict) in self.breakpoints.judge(ids, &here) {
            match verdict {
                Verdict::Stop(note) => {
                    hit.push(number);
                    notes.extend(note.map(|note| format!("breakpoint {number}: {note}")));
                }
                Verdict::Log(text) => {
                    let thread = here.summary().thread;
                    let position = here.frame(0).ok().and_then(|frame| frame.position);
                    self.ready.push_back(SessionEvent::LogPoint {
                        breakpoint: number,
                        thread,
                        text,
                        position,
                    });
                }
                Verdict::Skip | Verdict::Pass => {}
            }
        }
        if !hit.is_empty() {
            let gone = self.breakpoints.take_temporary(&self.client, &hit);
            self.ready.extend(gone.into_iter().map(SessionEvent::BreakpointChanged));
            return Some(stop(StopReason::Breakpoint { ids: hit }).with_notes(notes));
        }
        let gone_on = match plan {
            Some(plan) => self.go_on(target, plan, Plan::passed),
            None => self.run(target.info(), ResumeMode::Continue).map(|()| None),
        };
        match gone_on {
            Ok(None) => None,
            // The step ends here, of all places.
            Ok(Some(hidden)) => Some(Stop::new(Arc::clone(target), hidden, StopReason::Step)),
            Err(_) => Some(here),
        }
    }

    /// Lets a step under way run on; the hidden frames to report when it is done.
    fn go_on(
        &mut self,
        target: &Arc<Target>,
        mut plan: Plan,
        next: fn(&mut Plan, &Target) -> Result<Next, Error>,
    ) -> Result<Option<u32>, Error> {
        match next(&mut plan, target)? {
            Next::Report { hidden } => Ok(Some(hidden)),
            Next::Resume(mode) => {
                self.run(target.info(), mode)?;
                self.plans.insert(target.info().slot, plan);
                Ok(None)
            }
        }
    }

    fn released(&mut self, released: Released) -> Option<SessionEvent> {
        let known = self.stops.remove(released.stop);
        // The echo of this session's own resume.
        if !known && released.cause == ReleaseCause::Resumed {
            return None;
        }
        Some(SessionEvent::Released(released))
    }
}
