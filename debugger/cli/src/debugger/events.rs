//! What the user sees of stops and of events that nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::stop::{CallbackEnded, CallbackOutcome, Context, ReleaseCause, StopReason};
use wasmdbg_control::transactions::{LogLine, Missed};
use wasmdbg_session::text::show_duration;
use wasmdbg_session::{End, SessionEvent, Stop};

use super::{Debugger, Mode};
use crate::show::count;
use crate::terminal::console::{Paint, harmless};

impl Debugger {
    /// The head of a stop: who stopped, why, where, and the source line.
    pub(crate) fn show_stop(&mut self, stop: &Arc<Stop>) {
        // After one's own step only the place is news.
        if *stop.reason() != StopReason::Step || !stop.info().control {
            self.show_last_words(stop);
            let summary = stop.summary();
            let head = format!("{} stopped: {}", summary.thread, summary.reason);
            let head = self.console.paint(Paint::Strong, &head);
            self.console.say(&head);
            for note in &summary.notes {
                self.console.note(note);
            }
        }
        if let Some(returned) = stop.returned() {
            self.console.say(&harmless(returned));
        }
        self.show_place(true);
    }

    /// A stop beside the one that is looked at.
    pub(crate) fn announce(&mut self, stop: &Stop) {
        let summary = stop.summary();
        let text = format!("{} stopped too: {}; `transactions` lists both", summary.thread, summary.reason);
        let text = self.console.paint(Paint::Strong, &text);
        self.console.say(&text);
    }

    /// Anything but a stop.
    pub(crate) fn show_event(&mut self, event: SessionEvent) {
        match event {
            // These two are the waiting's business.
            SessionEvent::Stopped(_) | SessionEvent::Disconnected(_) => {}
            SessionEvent::Released(released) => self.show_release(released.stop, released.cause),
            SessionEvent::CallbackEnded { ended, ended_step } => {
                if ended_step || matches!(ended.outcome, CallbackOutcome::Trapped { .. }) {
                    self.show_callback_end(&ended);
                }
            }
            SessionEvent::LogPoint { breakpoint, thread, text, .. } => {
                self.console.say(&format!("{thread}, breakpoint {breakpoint}: {}", harmless(&text)));
            }
            SessionEvent::TransactionStarted(_) => {}
            SessionEvent::TransactionEnded(ended) => {
                if let Some(thread) = self.stopped_once.remove(&ended.id) {
                    let outcome = match (ended.status, ended.aborted) {
                        (_, true) => "over: its client went away".to_owned(),
                        (Some(status), false) => format!("done: {status}"),
                        (None, false) => "done".to_owned(),
                    };
                    let text = self.console.paint(Paint::Faint, &format!("{thread} is {outcome}"));
                    self.console.say(&text);
                }
            }
            SessionEvent::DeadlineWarning(warning) => {
                let left = show_duration(Duration::from_millis(warning.remaining_ms.max(1)));
                let thread = self
                    .session
                    .stop(warning.stop)
                    .map_or_else(|_| "the stopped callback".to_owned(), |stop| stop.summary().thread);
                self.console.note(&format!("{thread} goes on in {left} unless there is a command before"));
            }
            SessionEvent::Missed(missed) => self.show_missed(&missed),
            SessionEvent::Log(line) => self.show_log(line),
            SessionEvent::LaneProgress(_) => {}
            SessionEvent::LaneFailed(failed) => {
                self.console.complain(&format!(
                    "filter {} cannot be debugged any more: {}",
                    failed.name, failed.reason
                ));
            }
            SessionEvent::BreakpointChanged(breakpoint) => {
                for note in &breakpoint.notes {
                    self.console.note(&format!("breakpoint {}: {note}", breakpoint.number));
                }
            }
        }
    }

    /// How a callback ended.
    pub(crate) fn show_callback_end(&mut self, ended: &CallbackEnded) {
        let thread = match &ended.context {
            Context::Stream { transaction, method, path, .. } => format!("{method} {path} #{transaction}"),
            Context::Root { .. } => "the filter itself".to_owned(),
        };
        let outcome = match &ended.outcome {
            CallbackOutcome::Trapped { message } => format!("trapped: {message}"),
            CallbackOutcome::Returned { value, local_response } => {
                let value = match value {
                    Some(0) if returns_action(&ended.callback) => " Continue".to_owned(),
                    Some(1) if returns_action(&ended.callback) => " Pause".to_owned(),
                    Some(value) => format!(" {value}"),
                    None => String::new(),
                };
                let response = local_response
                    .map_or_else(String::new, |status| format!(", with a response of its own: {status}"));
                format!("returned{value}{response}")
            }
        };
        let text = format!("{thread}: {} {outcome}", ended.callback);
        let text = self.console.paint(Paint::Strong, &text);
        self.console.say(&text);
    }

    fn show_release(&mut self, stop: wasmdbg_control::StopId, cause: ReleaseCause) {
        let selected = self.selection.current().filter(|selected| selected.stop.id() == stop);
        let thread = selected.map(|selected| selected.stop.summary().thread);
        self.forget(stop);
        let why = match cause {
            ReleaseCause::Resumed => "another session let it go on",
            ReleaseCause::Deadline => "its deadline has passed (`--deadline` sets it)",
            ReleaseCause::HardCap => "no stop lasts longer in this proxy",
            ReleaseCause::Detached => "the session that held it is gone",
            ReleaseCause::ClientGone => "its client has closed the connection, or the sending half of it",
        };
        if let Some(thread) = thread {
            self.console.note(&format!("{thread} goes on: {why}"));
        }
    }

    /// The first of many, then fewer and fewer.
    fn show_missed(&mut self, missed: &Missed) {
        // Those from before the debug lane was ready were told of in one line.
        if missed.total > self.session.attached().missed && missed.total.is_power_of_two() {
            let total = count(missed.total, "request");
            let text = format!(
                "{} {} matched and was not stopped: {} ({total} so far)",
                missed.method, missed.path, missed.reason
            );
            self.console.note(&text);
        }
    }

    /// A person wants to see what the filter says; a script has the proxy's log for that.
    fn show_log(&mut self, line: LogLine) {
        if self.user.mode == Mode::Terminal {
            self.print_log(&line);
        } else {
            self.last_logs.push(line);
        }
    }

    /// What the filter that stopped logged last, if it is about to die of what it says there.
    fn show_last_words(&mut self, stop: &Stop) {
        let own = self.last_logs.take_of(stop.info());
        if matches!(stop.end(), Some(End::Panic | End::Abort)) {
            own.iter().for_each(|line| self.print_log(line));
        }
    }

    fn print_log(&mut self, line: &LogLine) {
        let transaction = line.transaction.map_or_else(String::new, |id| format!(" #{id}"));
        let attached = self.session.attached().filters.iter().find(|known| known.filter == line.filter);
        let filter = attached.map_or("filter", |known| &known.name);
        let text = format!("[{filter}{transaction} {}] {}", line.level, line.message);
        let text = self.console.paint(Paint::Faint, text.trim_end());
        self.console.say(&text);
    }
}

/// Whether the callback's result is a `proxy_action_t`.
fn returns_action(callback: &str) -> bool {
    let parts = ["headers", "body", "trailers", "data"];
    callback.starts_with("proxy_on_") && parts.iter().any(|part| callback.ends_with(part))
}
