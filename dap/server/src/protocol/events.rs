//! What the client is told unasked.

use serde::Serialize;

use super::{Breakpoint, Source};

/// An event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", content = "body", rename_all = "camelCase")]
pub enum Event {
    /// Configuration may come.
    Initialized,
    /// A thread stands.
    Stopped(StoppedEvent),
    /// A thread goes on without having been asked to.
    Continued(ContinuedEvent),
    /// A thread came or went.
    Thread(ThreadEvent),
    /// Text for the console.
    Output(OutputEvent),
    /// A breakpoint is not what it was.
    Breakpoint(BreakpointEvent),
    /// Something takes its time.
    ProgressStart(ProgressStartEvent),
    /// It goes on.
    ProgressUpdate(ProgressUpdateEvent),
    /// It is over.
    ProgressEnd(ProgressEndEvent),
    /// What was shown is out of date.
    Invalidated(InvalidatedEvent),
    /// Bytes were written.
    Memory(MemoryEvent),
    /// The launched proxy has ended.
    Exited(ExitedEvent),
    /// The session is over.
    Terminated,
}

/// `exited`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitedEvent {
    /// 0.
    pub exit_code: i64,
}

/// `stopped`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoppedEvent {
    /// `breakpoint`, `step`, `pause`, `exception`, …
    pub reason: &'static str,
    /// For a person.
    pub description: String,
    /// Which.
    pub thread_id: i64,
    /// Something else is looked at: do not turn to this one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve_focus_hint: bool,
    /// More for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Never: the proxy goes on.
    pub all_threads_stopped: bool,
    /// Which breakpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hit_breakpoint_ids: Vec<i64>,
}

/// `continued`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContinuedEvent {
    /// Which.
    pub thread_id: i64,
    /// Never.
    pub all_threads_continued: bool,
}

/// `thread`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadEvent {
    /// `started` or `exited`.
    pub reason: &'static str,
    /// Which.
    pub thread_id: i64,
}

/// `output`.
#[derive(Debug, Clone, Serialize)]
pub struct OutputEvent {
    /// Where it belongs.
    pub category: Category,
    /// With its line end.
    pub output: String,
    /// Where it was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Where in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
}

/// Where output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// From the debugger.
    Console,
    /// From the debugger, not to be overlooked.
    Important,
    /// From the filter.
    Stdout,
    /// From the filter: warnings and worse.
    Stderr,
}

/// `breakpoint`.
#[derive(Debug, Clone, Serialize)]
pub struct BreakpointEvent {
    /// `changed`.
    pub reason: &'static str,
    /// As it is now.
    pub breakpoint: Breakpoint,
}

/// `progressStart`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStartEvent {
    /// Of this adapter.
    pub progress_id: String,
    /// For a person.
    pub title: String,
    /// The request that waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<i64>,
    /// `cancel` ends it.
    pub cancellable: bool,
    /// What goes on.
    pub message: String,
}

/// `progressUpdate`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressUpdateEvent {
    /// Which.
    pub progress_id: String,
    /// What goes on.
    pub message: String,
    /// Of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

/// `progressEnd`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressEndEvent {
    /// Which.
    pub progress_id: String,
}

/// `invalidated`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidatedEvent {
    /// `variables`.
    pub areas: Vec<&'static str>,
    /// Which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<i64>,
}

/// `memory`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryEvent {
    /// As the client named it.
    pub memory_reference: String,
    /// Bytes behind it.
    pub offset: i64,
    /// How many.
    pub count: i64,
}
