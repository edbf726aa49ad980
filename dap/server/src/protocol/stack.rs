//! Threads, frames, sources and modules.

use serde::{Deserialize, Serialize};

/// The response to `threads`.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadsBody {
    /// Never empty.
    pub threads: Vec<Thread>,
}

/// `Thread`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Thread {
    /// Of this adapter.
    pub id: i64,
    /// `GET /path #17`.
    pub name: String,
}

/// `stackTrace`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StackTraceArguments {
    /// Which.
    pub thread_id: i64,
    /// First frame, from 0.
    pub start_frame: i64,
    /// How many; none or 0: all.
    pub levels: Option<i64>,
    /// How names are written.
    pub format: StackFrameFormat,
}

/// `StackFrameFormat`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools)]
pub struct StackFrameFormat {
    /// Integers in hexadecimal.
    pub hex: bool,
    /// With parameters.
    pub parameters: bool,
    /// Names of parameters.
    pub parameter_names: bool,
    /// Values of parameters.
    pub parameter_values: bool,
    /// The line's number.
    pub line: bool,
    /// The module's name.
    pub module: bool,
}

/// The response to `stackTrace`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StackTraceBody {
    /// Innermost first.
    pub stack_frames: Vec<StackFrame>,
    /// How many there are at least: one more than are known while there are more.
    pub total_frames: i64,
}

/// `StackFrame`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StackFrame {
    /// Of this adapter; valid until its thread goes on.
    pub id: i64,
    /// The function.
    pub name: String,
    /// Its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// 0 without a source.
    pub line: i64,
    /// 0 without a source.
    pub column: i64,
    /// Of the opcode.
    pub instruction_pointer_reference: String,
    /// As in `modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<i64>,
    /// `subtle` for code that is not the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<&'static str>,
}

/// `Source`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// For a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// On the client's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// For `source`, when the client cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_reference: Option<i64>,
    /// `deemphasize` for what is not the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<String>,
    /// Why it is not to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// `source`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceArguments {
    /// Which.
    pub source: Source,
    /// The same, of old clients.
    pub source_reference: i64,
}

/// The response to `source`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceBody {
    /// All of it.
    pub content: String,
}

/// The response to `loadedSources`.
#[derive(Debug, Clone, Serialize)]
pub struct LoadedSourcesBody {
    /// By path.
    pub sources: Vec<Source>,
}

/// `modules`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModulesArguments {
    /// First, from 0.
    pub start_module: i64,
    /// How many; none or 0: all.
    pub module_count: Option<i64>,
}

/// The response to `modules`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModulesBody {
    /// In the order of the filters.
    pub modules: Vec<Module>,
    /// In all.
    pub total_modules: i64,
}

/// `Module`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// From 1.
    pub id: i64,
    /// The filters that run it.
    pub name: String,
    /// Where its symbols are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The beginning of its content hash.
    pub version: String,
    /// How good its symbols are.
    pub symbol_status: String,
    /// The same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol_file_path: Option<String>,
    /// Filters are what is debugged.
    pub is_user_code: bool,
}

/// `scopes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScopesArguments {
    /// Which.
    pub frame_id: i64,
}

/// The response to `scopes`.
#[derive(Debug, Clone, Serialize)]
pub struct ScopesBody {
    /// The likely ones first.
    pub scopes: Vec<Scope>,
}

/// `Scope`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// For a person.
    pub name: String,
    /// `arguments`, `locals`, `globals`, `registers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_hint: Option<&'static str>,
    /// For `variables`.
    pub variables_reference: i64,
    /// Not to be read unless asked for.
    pub expensive: bool,
}
