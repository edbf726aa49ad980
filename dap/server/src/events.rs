//! What the session says, as events for the client.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::stop::{CallbackEnded, CallbackOutcome, Context, ReleaseCause, Released, StopReason};
use wasmdbg_control::transactions::{LogLine, Missed};
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{Position, SessionEvent, Step, Stop};

use crate::protocol::{Category, ContinuedEvent, Event, OutputEvent, StoppedEvent, ThreadEvent};
use crate::requests::exception::local_response;
use crate::session::lifecycle::Lifecycle;
use crate::transport::client::Client;
use crate::view::View;
use crate::view::threads::Who;

/// Tells the client of everything that has come so far.
pub(crate) fn tell(client: &mut Client, lifecycle: &mut Lifecycle, view: &mut View) {
    while let Some(event) = lifecycle.next_event() {
        Telling { client, lifecycle, view }.event(event);
    }
}

/// What an event can change.
struct Telling<'a> {
    client: &'a mut Client,
    lifecycle: &'a mut Lifecycle,
    view: &'a mut View,
}

impl Telling<'_> {
    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Stopped(stop) => self.stopped(&stop),
            SessionEvent::Released(released) => self.released(&released),
            SessionEvent::CallbackEnded { ended, ended_step } => self.callback_ended(&ended, ended_step),
            SessionEvent::TransactionStarted(info) => self.started(Who::Stream(info.id, info.filter)),
            SessionEvent::TransactionEnded(ended) => {
                self.view.last_lines.forget(ended.filter, ended.id);
                self.exited(Who::Stream(ended.id, ended.filter));
            }
            SessionEvent::DeadlineWarning(warning) => {
                let left = show_duration(Duration::from_millis(warning.remaining_ms.max(1)));
                let thread =
                    self.lifecycle.session().ok().and_then(|session| session.stop(warning.stop).ok());
                let thread =
                    thread.map_or_else(|| "the stopped request".into(), |stop| stop.summary().thread);
                self.client.say(
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
                self.client.say(Category::Important, &text);
            }
            // None is temporary here.
            SessionEvent::BreakpointChanged(_) => {}
            SessionEvent::Disconnected(why) => self.lifecycle.lost(self.client, self.view, &why),
        }
    }

    fn stopped(&mut self, stop: &Arc<Stop>) {
        let info = stop.info();
        self.view.handles.drop_slot(info.slot);
        if !info.control {
            // An editor would show a request that it cannot let go.
            let text = format!("{} is stopped in another session", stop.summary().thread);
            self.client.say(Category::Console, &text);
            return;
        }
        let unwanted = match stop.reason() {
            StopReason::Trap { message } => !self.view.breakpoints.stops_at_trap(message, stop),
            _ => false,
        };
        if (unwanted || self.lifecycle.no_debug())
            && self
                .lifecycle
                .session_mut()
                .is_ok_and(|session| session.resume(stop.id(), Step::Continue).is_ok())
        {
            return;
        }
        self.started(Who::of_stop(stop));
        self.view.threads.stands(info.slot, Who::of_stop(stop));
        let (thread_id, _) = self.view.threads.id(Who::of_stop(stop));
        let summary = stop.summary();
        let mut notes = summary.notes;
        notes.extend(stop.returned().map(str::to_owned));
        let hit: Vec<_> =
            stop.breakpoints().iter().filter_map(|number| self.view.breakpoints.of_number(*number)).collect();
        let at_entry = self.lifecycle.enters(stop);
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
        let Ok(session) = self.lifecycle.session() else { return };
        // One's own step is looked at in any case.
        let looked_at = self.view.threads.focus(session).filter(|focus| focus.id() != stop.id());
        let preserve_focus_hint = *stop.reason() != StopReason::Step
            && looked_at
                .is_some_and(|other| session.stop(other.id()).is_ok() && other.info().slot != info.slot);
        if !preserve_focus_hint {
            self.view.threads.focus_on(stop.id());
        }
        for note in &notes {
            self.client.say(Category::Console, &format!("{}: {note}", summary.thread));
        }
        self.client.event(&Event::Stopped(StoppedEvent {
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
        self.view.handles.drop_stop(released.stop);
        let Some(thread_id) = self.view.threads.of_slot(released.slot) else { return };
        let why = match released.cause {
            ReleaseCause::Resumed => "another session let it go on",
            ReleaseCause::Deadline => "its deadline has passed (\"deadline\" in launch.json sets it)",
            ReleaseCause::HardCap => "no stop lasts longer in this proxy",
            ReleaseCause::Detached => "the session that held it is gone",
            ReleaseCause::ClientGone => "its client has closed the connection, or the sending half of it",
        };
        self.client.say(Category::Important, &format!("the stopped request goes on: {why}"));
        self.client.event(&Event::Continued(ContinuedEvent { thread_id, all_threads_continued: false }));
    }

    fn callback_ended(&mut self, ended: &CallbackEnded, ended_step: bool) {
        self.view.handles.drop_slot(ended.slot);
        let name = match &ended.context {
            Context::Stream { transaction, method, path, .. } => format!("{method} {path} #{transaction}"),
            Context::Root { .. } => "the filter itself".to_owned(),
        };
        match &ended.outcome {
            CallbackOutcome::Trapped { message } => {
                let text = format!("{name}: {} trapped: {message}", ended.callback);
                self.client.say(Category::Important, &text);
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
                self.client.say(Category::Console, &text);
            }
            CallbackOutcome::Returned { .. } => {}
        }
        if let Context::Root { .. } = ended.context {
            self.exited(Who::Root(ended.slot));
        }
    }

    fn started(&mut self, who: Who) {
        let (thread_id, new) = self.view.threads.id(who);
        if new {
            self.client.event(&Event::Thread(ThreadEvent { reason: "started", thread_id }));
        }
    }

    fn exited(&mut self, who: Who) {
        if let Some(thread_id) = self.view.threads.remove(who) {
            self.client.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id }));
        }
    }

    /// The first of many, then fewer and fewer.
    fn missed(&mut self, missed: &Missed) {
        let before = self.lifecycle.session().map_or(0, |session| session.attached().missed);
        if missed.total > before && missed.total.is_power_of_two() {
            let text = format!(
                "{} {} matched and was not stopped: {} ({} so far)",
                missed.method, missed.path, missed.reason, missed.total
            );
            self.client.say(Category::Console, &text);
        }
    }

    fn logged(&mut self, line: LogLine) {
        let whose = line.transaction.map_or_else(String::new, |transaction| format!(" #{transaction}"));
        let category = match line.level.as_str() {
            "warn" | "error" | "critical" => Category::Stderr,
            _ => Category::Stdout,
        };
        self.client.say(category, &format!("[{}]{whose} {}", line.level, line.message));
        self.view.last_lines.add(line);
    }

    fn say_at(&mut self, category: Category, text: &str, position: Option<&Position>) {
        let Ok(session) = self.lifecycle.session() else { return };
        let source = position.map(|position| self.view.sources.source(session, self.client, &position.file));
        let line = position.map(|position| self.client.line_out(position.line));
        let output = format!("{text}\n");
        self.client.event(&Event::Output(OutputEvent { category, output, source, line }));
    }
}
