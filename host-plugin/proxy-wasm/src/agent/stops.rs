//! What clients do to stopped slots, and what time does to them: commands go to the standing thread's
//! channel, deadlines release it.

use std::time::{Duration, Instant};

use wasmdbg_control::server::ClientHandle;
use wasmdbg_control::stop::{Context, DeadlineWarning, Interrupt, InterruptNoted, ReleaseCause};
use wasmdbg_control::{ErrorKind, Event, Request, RequestId, SessionId, StopId, WireError};

use super::Agent;
use crate::debug::session::Session;
use crate::debug::slot::Slot;
use crate::debug::stop::{Command, Due, gone};

/// What a request about a stop needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Any session may look.
    Look,
    /// Only the controller may act.
    Control,
}

impl Agent {
    /// Hands a request about a stop to the thread that stands there, which answers it. Gives back a
    /// request of another kind.
    pub(super) fn command(
        &self,
        session: &Session,
        client: &ClientHandle,
        id: RequestId,
        request: Request,
    ) -> Option<Request> {
        let Some((stop, right, deed)) = about_stop(&request) else { return Some(request) };
        let sent = {
            let mut tables = self.lane.tables();
            match tables.stops.get_mut(&stop) {
                None => Err(gone(stop)),
                Some(standing) if right == Right::Control && standing.controller != session.id => {
                    let other = standing.controller;
                    let text = format!("session {other} controls stop {stop}: this session observes it");
                    Err(WireError::new(ErrorKind::Denied, text))
                }
                Some(standing) => {
                    let command = match request {
                        Request::Resume(asked) => Command::Resume(client.clone(), id, asked.mode),
                        other => Command::Query(client.clone(), id, other),
                    };
                    standing.commands.send(command).map_err(|_| gone(stop))
                }
            }
        };
        match (&sent, &deed) {
            (Ok(()), Some(deed)) => self.audit_session(session, &format!("{deed} at stop {stop}")),
            (Err(error), Some(deed)) => self.audit_session(session, &format!("refused {deed}: {error}")),
            (_, None) => {}
        }
        if let Err(error) = sent {
            let _ = client.refuse(id, error);
        }
        None
    }

    /// Makes running callbacks stop.
    pub(super) fn interrupt(
        &self,
        session: &Session,
        asked: &Interrupt,
    ) -> Result<InterruptNoted, WireError> {
        let slots = self.lane.tables().slots.clone();
        let noted = match asked.slot {
            Some(id) => {
                let slot = slots.iter().find(|slot| slot.id == id).ok_or_else(|| {
                    WireError::new(ErrorKind::NotFound, format!("there is no debug slot {id}"))
                })?;
                self.interrupt_one(session, slot)?;
                1
            }
            None => slots.iter().filter(|slot| self.interrupt_one(session, slot).is_ok()).count(),
        };
        match u32::try_from(noted) {
            Ok(0) => Err(WireError::new(
                ErrorKind::State,
                "no callback of this session runs: there is nothing to stop",
            )),
            Ok(slots) => {
                self.audit_session(session, &format!("interrupted {slots} slots"));
                Ok(InterruptNoted { slots })
            }
            Err(_) => Err(WireError::new(ErrorKind::Internal, "more slots than there can be")),
        }
    }

    fn interrupt_one(&self, session: &Session, slot: &Slot) -> Result<(), WireError> {
        let refuse = |kind, text: String| Err(WireError::new(kind, text));
        {
            let mut state = slot.lock();
            let Some(running) = &state.running else {
                return refuse(ErrorKind::State, format!("no callback runs in slot {}", slot.id));
            };
            if let Some(stop) = state.stop {
                return refuse(ErrorKind::State, format!("slot {} stands already, at stop {stop}", slot.id));
            }
            let controller = match (&running.context, &state.bound) {
                (Context::Stream { .. }, Some(bound)) => Some(bound.session),
                _ => session.wish(slot.filter).map(|_| session.id),
            };
            if controller != Some(session.id) {
                let text = match controller {
                    Some(other) => format!("session {other} controls what runs in slot {}", slot.id),
                    None => format!("this session is not attached to filter {}", slot.filter_name),
                };
                return refuse(ErrorKind::Denied, text);
            }
            state.interrupt = Some(session.id);
        }
        self.lane.poke(slot);
        Ok(())
    }

    /// Warns of deadlines and keeps them. Returns when to look again.
    pub(super) fn pass_time(&mut self, now: Instant) -> Option<Instant> {
        let sessions = self.lane.sessions();
        let find = |id: SessionId| sessions.iter().find(|session| session.id == id);
        let mut next: Option<Instant> = None;
        let mut warnings = Vec::new();
        let mut over = Vec::new();
        for (stop, standing) in &mut self.lane.tables().stops {
            let Some(session) = find(standing.controller) else {
                standing.release(ReleaseCause::Detached);
                continue;
            };
            let alive = session.last_sign_of_life();
            let mut due = standing.due(now, alive, session.deadline);
            if let Due::Warn(left) = due {
                warnings.push((*stop, session, left));
                due = standing.due(now, alive, session.deadline);
            }
            match due {
                Due::Later(when) => next = Some(next.map_or(when, |earlier| earlier.min(when))),
                Due::Release(cause) => over.push((*stop, session, cause)),
                Due::Warn(_) | Due::Over => {}
            }
        }
        for (stop, session, left) in warnings {
            session.send(Event::DeadlineWarning(DeadlineWarning { stop, remaining_ms: millis(left) }));
        }
        // After the warnings: the slot tells of its release at once.
        for (stop, session, cause) in over {
            let released =
                self.lane.tables().stops.get_mut(&stop).is_some_and(|standing| standing.release(cause));
            if released {
                self.audit_session(session, &format!("did not resume stop {stop} in time: released"));
            }
        }
        next
    }
}

/// The stop that a request is about, what it takes, and how the audit log calls it; `None`: another kind
/// of request.
fn about_stop(request: &Request) -> Option<(StopId, Right, Option<String>)> {
    Some(match request {
        Request::Frames(asked) => (asked.stop, Right::Look, None),
        Request::ReadMemory(asked) => (asked.stop, Right::Look, None),
        Request::ReadGlobals(asked) => (asked.stop, Right::Look, None),
        Request::ReadStream(asked) => (asked.stop, Right::Look, None),
        Request::WriteMemory(asked) => {
            let deed = format!("write of {} bytes of memory at {:#x}", asked.data.len(), asked.address);
            (asked.stop, Right::Control, Some(deed))
        }
        Request::WriteGlobal(asked) => {
            (asked.stop, Right::Control, Some(format!("write of global {}", asked.index)))
        }
        Request::Resume(asked) => (asked.stop, Right::Control, Some(String::from("resume"))),
        _ => return None,
    })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
