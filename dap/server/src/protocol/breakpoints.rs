//! Breakpoints of all kinds.

use serde::{Deserialize, Serialize};

use super::Source;

/// `setBreakpoints`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetBreakpointsArguments {
    /// The file whose breakpoints are replaced.
    pub source: Source,
    /// All of them.
    pub breakpoints: Option<Vec<SourceBreakpoint>>,
    /// Of old clients: the lines alone.
    pub lines: Vec<i64>,
}

/// `SourceBreakpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceBreakpoint {
    /// Where.
    pub line: i64,
    /// Where in the line.
    pub column: Option<i64>,
    /// Stops while this is true.
    pub condition: Option<String>,
    /// Stops at these hits.
    pub hit_condition: Option<String>,
    /// Says this instead.
    pub log_message: Option<String>,
}

/// `setFunctionBreakpoints`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SetFunctionBreakpointsArguments {
    /// All of them.
    pub breakpoints: Vec<FunctionBreakpoint>,
}

/// `FunctionBreakpoint`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionBreakpoint {
    /// `judge`, `proxy_on_request_headers`.
    pub name: String,
    /// Stops while this is true.
    pub condition: Option<String>,
    /// Stops at these hits.
    pub hit_condition: Option<String>,
}

/// `setInstructionBreakpoints`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SetInstructionBreakpointsArguments {
    /// All of them.
    pub breakpoints: Vec<InstructionBreakpoint>,
}

/// `InstructionBreakpoint`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstructionBreakpoint {
    /// As a frame or the disassembly named it.
    pub instruction_reference: String,
    /// Bytes behind it.
    pub offset: i64,
    /// Stops while this is true.
    pub condition: Option<String>,
    /// Stops at these hits.
    pub hit_condition: Option<String>,
}

/// `setExceptionBreakpoints`. `exceptionOptions` is not supported.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetExceptionBreakpointsArguments {
    /// Filters without a condition.
    pub filters: Vec<String>,
    /// Filters with one.
    pub filter_options: Vec<ExceptionFilterOptions>,
}

/// `ExceptionFilterOptions`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExceptionFilterOptions {
    /// Which filter.
    pub filter_id: String,
    /// A part of the trap's name.
    pub condition: Option<String>,
}

/// `breakpointLocations`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BreakpointLocationsArguments {
    /// The file.
    pub source: Source,
    /// First line.
    pub line: i64,
    /// Last line; `None`: only the first.
    pub end_line: Option<i64>,
}

/// The response to `breakpointLocations`.
#[derive(Debug, Clone, Serialize)]
pub struct BreakpointLocationsBody {
    /// Sorted.
    pub breakpoints: Vec<BreakpointLocation>,
}

/// `BreakpointLocation`.
#[derive(Debug, Clone, Serialize)]
pub struct BreakpointLocation {
    /// Where.
    pub line: i64,
    /// Where in the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,
}

/// The response to every `set…Breakpoints`: in the order and number of the request.
#[derive(Debug, Clone, Serialize)]
pub struct BreakpointsBody {
    /// One per requested one.
    pub breakpoints: Vec<Breakpoint>,
}

/// `Breakpoint`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakpoint {
    /// Of this adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// It stands somewhere.
    pub verified: bool,
    /// Why not, or what else to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The file it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The line it stands at; can be another than asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// In the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,
    /// Of the opcode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_reference: Option<String>,
    /// `pending`: may be bound later; `failed`: will not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}
