//! What the session says, as events for the client.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::state::Value;
use wasmdbg_control::stop::{CallbackEnded, CallbackOutcome, Context, ReleaseCause, Released, StopReason};
use wasmdbg_control::transactions::{LogLine, Missed};
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{Position, SessionEvent, Step, Stop};

use crate::adapter::{Adapter, Phase};
use crate::protocol::{Category, ContinuedEvent, Event, OutputEvent, StoppedEvent, ThreadEvent};
use crate::view::threads::Who;

/// A panic's message has two lines.
const LOG_LINES: usize = 2;

impl Adapter {
    /// Works on everything that has come so far.
    pub(crate) fn session_events(&mut self) {
        loop {
            let Phase::Live(session) = &mut self.phase else { return };
            let Some(event) = session.next_event(Duration::ZERO) else { return };
            self.session_event(event);
        }
    }

    fn session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Stopped(stop) => self.stopped(&stop),
            SessionEvent::Released(released) => self.released(&released),
            SessionEvent::CallbackEnded { ended, ended_step } => self.callback_ended(&ended, ended_step),
            SessionEvent::TransactionStarted(info) => self.started(Who::Stream(info.id, info.filter)),
            SessionEvent::TransactionEnded(ended) => {
                self.last_log.remove(&(ended.filter, Some(ended.id)));
                self.exited(Who::Stream(ended.id, ended.filter));
            }
            SessionEvent::DeadlineWarning(warning) => {
                let left = show_duration(Duration::from_millis(warning.remaining_ms.max(1)));
                let thread = self.session().ok().and_then(|session| session.stop(warning.stop).ok());
                let thread =
                    thread.map_or_else(|| "the stopped request".into(), |stop| stop.summary().thread);
                self.peer.say(
                    Category::Important,
                    &format!("{thread} goes on by itself in {left} unless you do something before"),
                );
            }
            SessionEvent::Missed(missed) => self.missed(&missed),
            SessionEvent::Log(line) => self.logged(line),
            SessionEvent::LogPoint { thread, text, position, .. } => {
                self.say_at(Category::Console, &format!("{thread}: {text}"), position.as_ref());
            }
            SessionEvent::LaneProgress(_) => {}
            SessionEvent::LaneFailed(failed) => {
                let text = format!(
                    "filter {} cannot be debugged any more: {}; attach again when that is mended",
                    failed.name, failed.reason
                );
                self.peer.say(Category::Important, &text);
            }
            // None is temporary here.
            SessionEvent::BreakpointChanged(_) => {}
            SessionEvent::Disconnected(why) => self.lost(&why),
        }
    }

    fn stopped(&mut self, stop: &Arc<Stop>) {
        let info = stop.info();
        self.handles.drop_slot(info.slot);
        if !info.control {
            // An editor would show a request that it cannot let go.
            let text = format!("{} is stopped in another session", stop.summary().thread);
            self.peer.say(Category::Console, &text);
            return;
        }
        let unwanted = match stop.reason() {
            StopReason::Trap { message } => !self.breakpoints.stops_at_trap(message, stop),
            _ => false,
        };
        if (unwanted || self.no_debug)
            && self.session().is_ok_and(|session| session.resume(stop.id(), Step::Continue).is_ok())
        {
            return;
        }
        self.started(Who::of_stop(stop));
        self.threads.stands(info.slot, Who::of_stop(stop));
        let (thread_id, _) = self.threads.id(Who::of_stop(stop));
        let summary = stop.summary();
        let mut notes = summary.notes;
        notes.extend(stop.returned().map(str::to_owned));
        let hit: Vec<_> =
            stop.breakpoints().iter().filter_map(|number| self.breakpoints.of_number(*number)).collect();
        let at_entry = self.launched.as_ref().is_some_and(|launched| launched.is_entry(stop.breakpoints()));
        if at_entry {
            self.entered();
        }
        let reason = match stop.reason() {
            StopReason::Breakpoint { .. } if at_entry && hit.is_empty() => "entry",
            StopReason::Breakpoint { .. } => hit.first().map_or("breakpoint", |(_, reason)| reason),
            StopReason::Step => "step",
            StopReason::Interrupt => "pause",
            StopReason::Trap { message } => {
                notes.insert(0, message.clone());
                "exception"
            }
        };
        let description = match stop.reason() {
            StopReason::Breakpoint { .. } if reason == "entry" => "at the filter's entry".to_owned(),
            StopReason::Breakpoint { .. } if reason == "exception" => {
                format!("the filter answers itself{}", local_response(stop))
            }
            StopReason::Breakpoint { .. } => "at a breakpoint".into(),
            StopReason::Step => "after a step".into(),
            StopReason::Interrupt => "paused".into(),
            StopReason::Trap { .. } => summary.reason,
        };
        let Phase::Live(session) = &self.phase else { return };
        // One's own step is looked at in any case.
        let looked_at = self.threads.focus(session).filter(|focus| focus.id() != stop.id());
        let preserve_focus_hint = *stop.reason() != StopReason::Step
            && looked_at
                .is_some_and(|other| session.stop(other.id()).is_ok() && other.info().slot != info.slot);
        if !preserve_focus_hint {
            self.threads.focus_on(stop.id());
        }
        for note in &notes {
            self.peer.say(Category::Console, &format!("{}: {note}", summary.thread));
        }
        self.peer.event(&Event::Stopped(StoppedEvent {
            reason,
            description,
            thread_id,
            preserve_focus_hint,
            text: (!notes.is_empty()).then(|| notes.join("; ")),
            all_threads_stopped: false,
            hit_breakpoint_ids: hit
                .into_iter()
                .filter(|(_, reason)| *reason != "exception")
                .map(|(id, _)| id)
                .collect(),
        }));
    }

    fn released(&mut self, released: &Released) {
        self.handles.drop_stop(released.stop);
        let Some(thread_id) = self.threads.of_slot(released.slot) else { return };
        let why = match released.cause {
            ReleaseCause::Resumed => "another session let it go on",
            ReleaseCause::Deadline => "its deadline has passed (\"deadline\" in launch.json sets it)",
            ReleaseCause::HardCap => "no stop lasts longer in this proxy",
            ReleaseCause::Detached => "the session that held it is gone",
            ReleaseCause::ClientGone => "its client has closed the connection, or the sending half of it",
        };
        self.peer.say(Category::Important, &format!("the stopped request goes on: {why}"));
        self.peer.event(&Event::Continued(ContinuedEvent { thread_id, all_threads_continued: false }));
    }

    fn callback_ended(&mut self, ended: &CallbackEnded, ended_step: bool) {
        self.handles.drop_slot(ended.slot);
        let name = match &ended.context {
            Context::Stream { transaction, method, path, .. } => format!("{method} {path} #{transaction}"),
            Context::Root { .. } => "the filter itself".to_owned(),
        };
        match &ended.outcome {
            CallbackOutcome::Trapped { message } => {
                let text = format!("{name}: {} trapped: {message}", ended.callback);
                self.peer.say(Category::Important, &text);
            }
            CallbackOutcome::Returned { value, local_response } if ended_step => {
                let value =
                    match (value, ended.callback.ends_with("headers") || ended.callback.ends_with("body")) {
                        (Some(0), true) => " Continue".to_owned(),
                        (Some(1), true) => " Pause".to_owned(),
                        (Some(value), _) => format!(" {value}"),
                        (None, _) => String::new(),
                    };
                let response = local_response
                    .map_or_else(String::new, |status| format!(", with a response of its own: {status}"));
                let text = format!("{name}: {} returned{value}{response}", ended.callback);
                self.peer.say(Category::Console, &text);
            }
            CallbackOutcome::Returned { .. } => {}
        }
        if let Context::Root { .. } = ended.context {
            self.exited(Who::Root(ended.slot));
        }
    }

    fn started(&mut self, who: Who) {
        let (thread_id, new) = self.threads.id(who);
        if new {
            self.peer.event(&Event::Thread(ThreadEvent { reason: "started", thread_id }));
        }
    }

    fn exited(&mut self, who: Who) {
        if let Some(thread_id) = self.threads.remove(who) {
            self.peer.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id }));
        }
    }

    /// The first of many, then fewer and fewer.
    fn missed(&mut self, missed: &Missed) {
        let before = self.session().map_or(0, |session| session.attached().missed);
        if missed.total > before && missed.total.is_power_of_two() {
            let text = format!(
                "{} {} matched and was not stopped: {} ({} so far)",
                missed.method, missed.path, missed.reason, missed.total
            );
            self.peer.say(Category::Console, &text);
        }
    }

    fn logged(&mut self, line: LogLine) {
        let whose = line.transaction.map_or_else(String::new, |transaction| format!(" #{transaction}"));
        let category = match line.level.as_str() {
            "warn" | "error" | "critical" => Category::Stderr,
            _ => Category::Stdout,
        };
        self.peer.say(category, &format!("[{}]{whose} {}", line.level, line.message));
        // rustc's hint is no part of a panic's message.
        if !line.message.starts_with("note: run with `RUST_BACKTRACE") {
            let lines = self.last_log.entry((line.filter, line.transaction)).or_default();
            if lines.len() == LOG_LINES {
                lines.pop_front();
            }
            lines.push_back(line.message);
        }
    }

    fn say_at(&mut self, category: Category, text: &str, position: Option<&Position>) {
        let Phase::Live(session) = &self.phase else { return };
        let source = position.map(|position| self.sources.source(session, &self.peer, &position.file));
        let line = position.map(|position| self.peer.line_out(position.line));
        let output = format!("{text}\n");
        self.peer.event(&Event::Output(OutputEvent { category, output, source, line }));
    }
}

/// `: 403, body "…"`, of a call of `proxy_send_local_response` that is about to happen: its arguments lie on
/// the operand stack (status; address and size of the details, the body and the headers; gRPC status).
pub(crate) fn local_response(stop: &Stop) -> String {
    const ARGUMENTS: usize = 8;
    const BODY: u32 = 200;
    let number = |value: &Value| match value {
        Value::I32(value) => Some(value.cast_unsigned()),
        _ => None,
    };
    let operands = stop.info().frames.first().map(|frame| frame.operands.as_slice()).unwrap_or_default();
    let arguments: Vec<_> =
        operands.iter().skip(operands.len().saturating_sub(ARGUMENTS)).filter_map(number).collect();
    let [status, _, _, body, size, ..] = arguments.as_slice() else { return String::new() };
    let mut text = format!(": {status}");
    if *size > 0
        && let Ok(bytes) = stop.read_memory(u64::from(*body), (*size).min(BODY))
    {
        text.push_str(&format!(", body {:?}", String::from_utf8_lossy(&bytes)));
    }
    text
}
