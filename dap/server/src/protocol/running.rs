//! Going on, stepping, stopping.

use serde::{Deserialize, Serialize};

/// `continue`, `pause`, `exceptionInfo`. Other arguments (`granularity`, `singleThread`) change nothing here:
/// one thread goes on, the others are as they are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThreadArguments {
    /// Which.
    pub thread_id: i64,
}

/// `next`, `stepIn`, `stepOut`. Always a single thread.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StepArguments {
    /// Which.
    pub thread_id: i64,
    /// How far.
    pub granularity: Granularity,
}

/// `SteppingGranularity`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Granularity {
    /// An opcode.
    Instruction,
    /// A statement or a line.
    #[default]
    #[serde(other)]
    Line,
}

/// The response to `continue`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContinueBody {
    /// Nothing stands any more.
    pub all_threads_continued: bool,
}

/// The response to `exceptionInfo`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionInfoBody {
    /// `panic`, `abort`, `local response`, or the trap's name.
    pub exception_id: String,
    /// In words.
    pub description: String,
    /// `always`: it stops whoever could have handled it.
    pub break_mode: &'static str,
    /// More of it.
    pub details: ExceptionDetails,
}

/// `ExceptionDetails`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionDetails {
    /// What the filter logged last: a panic's message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The kind.
    pub type_name: String,
    /// One frame a line.
    pub stack_trace: String,
}
