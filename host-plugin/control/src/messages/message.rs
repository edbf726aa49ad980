//! The envelope: requests with ids, their responses, and events; one table pairs each request with
//! its reply.

use serde::{Deserialize, Serialize};

use super::{
    breakpoints as b, code as c, filters as f, session as s, state as m, status as p, stop, stream as st,
    transactions as t,
};

/// Chosen by the client, echoed in the response; unique among its requests under way.
pub type RequestId = u64;

/// One frame's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Client to proxy.
    Request {
        /// See [`RequestId`].
        id: RequestId,
        /// What is asked.
        body: Request,
    },
    /// Proxy to client: the answer to the request of the same id. Answers may overtake each other.
    Response {
        /// The request's id.
        id: RequestId,
        /// The answer.
        body: Reply,
    },
    /// Proxy to client: the request of the same id failed.
    Error {
        /// The request's id.
        id: RequestId,
        /// Why.
        error: WireError,
    },
    /// Proxy to client, unasked.
    Event(Event),
}

/// Why a request failed, for a person to read, and whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// For a program to tell errors apart.
    pub kind: ErrorKind,
    /// One sentence that says what to do.
    pub message: String,
}

impl WireError {
    /// An error of `kind` with the sentence `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What kind of failure a [`WireError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The versions of client and plugin do not match, or `hello` was not first.
    Version,
    /// The frame was no request of this protocol.
    Malformed,
    /// The request names a filter, module, stop, slot or transaction that is not there (any more).
    NotFound,
    /// Another session controls this stop, or the settings do not allow it.
    Denied,
    /// The request cannot be served in the present state.
    State,
    /// The module cannot be compiled or configured for the debug lane.
    Lane,
    /// A fault of the plugin itself.
    Internal,
}

/// A request type and the type of its reply.
pub trait Call: Into<Request> {
    /// What a successful response holds.
    type Reply: TryFrom<Reply, Error = Box<Reply>>;
}

macro_rules! calls {
    ($($(#[$doc:meta])* $wire:literal $name:ident($request:ty) -> $reply:ty;)*) => {
        /// Every request a client can make.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "method", content = "params")]
        pub enum Request { $($(#[$doc])* #[serde(rename = $wire)] $name($request),)* }

        /// The reply to the request of the same name.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "method", content = "result")]
        pub enum Reply { $($(#[$doc])* #[serde(rename = $wire)] $name($reply),)* }

        impl Request {
            /// All names of requests on the wire.
            pub const METHODS: &[&str] = &[$($wire),*];

            /// The name of this request on the wire.
            pub fn method(&self) -> &'static str {
                match self { $(Self::$name(_) => $wire,)* }
            }
        }

        impl Reply {
            /// The name on the wire of the request that this answers.
            pub fn method(&self) -> &'static str {
                match self { $(Self::$name(_) => $wire,)* }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self { Self::$name(request) }
            }
            impl From<$reply> for Reply {
                fn from(reply: $reply) -> Self { Self::$name(reply) }
            }
            impl TryFrom<Reply> for $reply {
                type Error = Box<Reply>;
                fn try_from(reply: Reply) -> Result<Self, Box<Reply>> {
                    match reply { Reply::$name(reply) => Ok(reply), other => Err(Box::new(other)) }
                }
            }
            impl Call for $request { type Reply = $reply; }
        )*
    };
}

calls! {
    /// Must be the first request.
    "hello" Hello(s::Hello) -> s::Welcome;
    /// The state of the process: what `wasmdbg ps --json` prints.
    "status" Status(p::GetStatus) -> p::Status;
    /// The filters and their modules.
    "filters" Filters(f::ListFilters) -> f::FilterList;
    /// A range of a module's bytes as the proxy loaded it.
    "read_module" ReadModule(f::ReadModule) -> f::ModuleBytes;
    /// Where the compiled code of the filters lies.
    "code" Code(c::ListCode) -> c::CodeList;
    /// A range of a filter's compiled image.
    "read_code" ReadCode(c::ReadCode) -> c::CodeBytes;
    /// Writes a file that names the compiled code for `perf`.
    "write_code_map" WriteCodeMap(c::WriteCodeMap) -> c::CodeMapWritten;
    /// The transactions of the debug lane.
    "transactions" Transactions(t::ListTransactions) -> t::TransactionList;
    /// Starts a session. Answered when the lane is compiled and one slot has passed configure.
    "attach" Attach(s::Attach) -> s::Attached;
    /// Starts the filters whose start the attach held back.
    "start" Start(s::Start) -> s::Started;
    /// Ends the session; what it held goes on.
    "detach" Detach(s::Detach) -> s::Detached;
    /// The user is at work: the pause deadline counts from now.
    "activity" Activity(s::Activity) -> s::ActivityNoted;
    /// Replaces the session's breakpoints in one module.
    "set_breakpoints" SetBreakpoints(b::SetBreakpoints) -> b::PlantedBreakpoints;
    /// More frames of a stop than its event carried.
    "frames" Frames(stop::GetFrames) -> stop::FrameList;
    /// Lets a stopped slot go on.
    "resume" Resume(stop::Resume) -> stop::Resumed;
    /// Stops a running callback of the debug lane at its next safe point.
    "interrupt" Interrupt(stop::Interrupt) -> stop::InterruptNoted;
    /// Reads linear memory of a stopped slot.
    "read_memory" ReadMemory(m::ReadMemory) -> m::MemoryBytes;
    /// Writes linear memory of a stopped slot.
    "write_memory" WriteMemory(m::WriteMemory) -> m::MemoryWritten;
    /// Reads all globals of a stopped slot.
    "read_globals" ReadGlobals(m::ReadGlobals) -> m::GlobalValues;
    /// Writes one mutable global of a stopped slot.
    "write_global" WriteGlobal(m::WriteGlobal) -> m::GlobalWritten;
    /// Reads the header maps and properties of a stopped slot's transaction.
    "read_stream" ReadStream(st::ReadStream) -> st::StreamState;
}

/// What the proxy tells a client unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The debug lane is being made ready for an `attach` under way.
    LaneProgress(s::LaneProgress),
    /// A slot stopped.
    Stopped(Box<stop::Stopped>),
    /// A stopped slot goes on, and why.
    Released(stop::Released),
    /// The pause deadline of a stop is near.
    DeadlineWarning(stop::DeadlineWarning),
    /// A callback on the debug lane returned (or trapped).
    CallbackEnded(stop::CallbackEnded),
    /// A transaction entered the debug lane.
    TransactionStarted(t::TransactionInfo),
    /// A transaction of the debug lane is over.
    TransactionEnded(t::TransactionEnded),
    /// A matching transaction took the fast lane, and why.
    Missed(t::Missed),
    /// A filter on the debug lane logged a line.
    Log(t::LogLine),
    /// The debug lane of a filter is gone or cannot run; the session's breakpoints there are not bound.
    LaneFailed(s::LaneFailed),
}
