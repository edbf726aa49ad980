//! The messages of the Debug Adapter Protocol (1.71) that this adapter speaks, as types of our own.
//!
//! Only what is used is here; the names are the protocol's. Clients leave out, misspell and set to `null`
//! what they like: every argument has a default, and unknown ones are ignored.

mod breakpoints;
mod capabilities;
mod events;
mod memory;
mod running;
mod session;
mod stack;
mod transactions;
mod variables;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use breakpoints::*;
pub use capabilities::*;
pub use events::*;
pub use memory::*;
pub use running::*;
pub use session::*;
pub use stack::*;
pub use transactions::*;
pub use variables::*;

/// A message from the client, its arguments not understood yet.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) seq: i64,
    pub(crate) command: String,
    arguments: Value,
}

/// What a frame's body was.
#[derive(Debug, Clone)]
pub(crate) enum Decoded {
    Request(Incoming),
    /// A response to a request of ours, or an event: nothing to do.
    Other,
    /// No message at all, and why.
    Malformed(String),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    seq: i64,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    arguments: Value,
}

/// Reads a frame's body.
pub(crate) fn decode(body: &[u8]) -> Decoded {
    match serde_json::from_slice::<Envelope>(body) {
        Ok(Envelope { seq, kind, command, arguments }) if kind == "request" && !command.is_empty() => {
            Decoded::Request(Incoming { seq, command, arguments: without_nulls(arguments) })
        }
        Ok(Envelope { kind, .. }) if kind == "response" || kind == "event" => Decoded::Other,
        Ok(_) => Decoded::Malformed("a message is neither request, response nor event".into()),
        Err(error) => Decoded::Malformed(format!("a message is no JSON of this protocol: {error}")),
    }
}

/// `null` means the same as leaving it out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Why a request is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A command this adapter does not have.
    #[error("wasmdbg has no request `{0}`")]
    Unknown(String),
    /// Arguments of wrong types, or one that is needed is missing.
    #[error("the arguments of `{command}` are not understood: {reason}")]
    Arguments {
        /// The command.
        command: String,
        /// What is wrong.
        reason: String,
    },
}

macro_rules! requests {
    ($($wire:literal $name:ident$(($arguments:ty))?,)*) => {
        /// A request, understood.
        #[derive(Debug, Clone)]
        pub(crate) enum Request { $($name$(($arguments))?,)* }

        impl Request {
            /// Reads the arguments of a message.
            pub(crate) fn parse(incoming: Incoming) -> Result<Self, RequestError> {
                let Incoming { command, arguments, .. } = incoming;
                match command.as_str() {
                    $($wire => Ok(Self::$name$((understood::<$arguments>(&command, arguments)?))?),)*
                    _ => Err(RequestError::Unknown(command)),
                }
            }
        }
    };
}

/// Missing arguments are empty ones.
fn understood<T: serde::de::DeserializeOwned>(command: &str, arguments: Value) -> Result<T, RequestError> {
    let arguments = if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments };
    serde_json::from_value(arguments)
        .map_err(|error| RequestError::Arguments { command: command.to_owned(), reason: error.to_string() })
}

requests! {
    "initialize" Initialize(InitializeArguments),
    "attach" Attach(AttachArguments),
    "launch" Launch(LaunchArguments),
    "restart" Restart(RestartArguments),
    "terminate" Terminate,
    "configurationDone" ConfigurationDone,
    "disconnect" Disconnect,
    "cancel" Cancel(CancelArguments),
    "setBreakpoints" SetBreakpoints(SetBreakpointsArguments),
    "setFunctionBreakpoints" SetFunctionBreakpoints(SetFunctionBreakpointsArguments),
    "setInstructionBreakpoints" SetInstructionBreakpoints(SetInstructionBreakpointsArguments),
    "setExceptionBreakpoints" SetExceptionBreakpoints(SetExceptionBreakpointsArguments),
    "breakpointLocations" BreakpointLocations(BreakpointLocationsArguments),
    "threads" Threads,
    "wasmdbg/transactions" Transactions,
    "stackTrace" StackTrace(StackTraceArguments),
    "scopes" Scopes(ScopesArguments),
    "variables" Variables(VariablesArguments),
    "setVariable" SetVariable(SetVariableArguments),
    "setExpression" SetExpression(SetExpressionArguments),
    "evaluate" Evaluate(EvaluateArguments),
    "completions" Completions(CompletionsArguments),
    "exceptionInfo" ExceptionInfo(ThreadArguments),
    "continue" Continue(ThreadArguments),
    "next" Next(StepArguments),
    "stepIn" StepIn(StepArguments),
    "stepOut" StepOut(StepArguments),
    "pause" Pause(ThreadArguments),
    "source" Source(SourceArguments),
    "loadedSources" LoadedSources,
    "modules" Modules(ModulesArguments),
    "readMemory" ReadMemory(ReadMemoryArguments),
    "writeMemory" WriteMemory(WriteMemoryArguments),
    "disassemble" Disassemble(DisassembleArguments),
}

macro_rules! bodies {
    ($($name:ident($body:ty),)*) => {
        /// What a response holds.
        #[derive(Debug, Clone, Serialize)]
        #[serde(untagged)]
        pub(crate) enum Body { $($name($body),)* }
        $(impl From<$body> for Body { fn from(body: $body) -> Self { Self::$name(body) } })*
    };
}

bodies! {
    Capabilities(Box<Capabilities>),
    Breakpoints(BreakpointsBody),
    BreakpointLocations(BreakpointLocationsBody),
    Threads(ThreadsBody),
    Transactions(TransactionsBody),
    StackTrace(StackTraceBody),
    Scopes(ScopesBody),
    Variables(VariablesBody),
    SetVariable(SetVariableBody),
    Evaluate(EvaluateBody),
    Completions(CompletionsBody),
    ExceptionInfo(ExceptionInfoBody),
    Continue(ContinueBody),
    Source(SourceBody),
    LoadedSources(LoadedSourcesBody),
    Modules(ModulesBody),
    ReadMemory(ReadMemoryBody),
    WriteMemory(WriteMemoryBody),
    Disassemble(DisassembleBody),
}

/// The result of a request: a body, if the protocol has one, or why not.
pub(crate) type Answer = Result<Option<Body>, String>;

/// A message to the client.
#[derive(Debug, Serialize)]
pub(crate) struct Outgoing<'a> {
    pub(crate) seq: i64,
    #[serde(flatten)]
    pub(crate) kind: OutgoingKind<'a>,
}

/// The kinds of messages to the client. Responses for which the protocol has no body have no `body` at all.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum OutgoingKind<'a> {
    Response {
        request_seq: i64,
        success: bool,
        command: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<ResponseBody<'a>>,
    },
    Event {
        #[serde(flatten)]
        event: &'a Event,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ResponseBody<'a> {
    Done(&'a Body),
    Failed { error: ErrorMessage<'a> },
}

/// `Message` of the protocol. `showUser` is left off: clients show what failed where it was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorMessage<'a> {
    pub(crate) id: i64,
    pub(crate) format: &'a str,
}

/// `null` and `0` as clients send them for "all".
pub(crate) fn given(number: Option<i64>) -> Option<u32> {
    number.filter(|number| *number > 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
