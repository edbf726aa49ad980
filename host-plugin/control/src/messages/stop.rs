//! Stops: why a slot stands, its frames, and how it goes on.

use serde::{Deserialize, Serialize};
use wasmdbg_code_address::{ModuleHash, ModulePc, PcRange};

use super::ids::{ContextId, FilterId, SlotId, StopId, TransactionId};
use super::state::Value;

/// A slot stopped. Every session sees it; one controls it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// Names this stop in every request about it.
    pub stop: StopId,
    /// The slot.
    pub slot: SlotId,
    /// The filter.
    pub filter: FilterId,
    /// The filter's name.
    pub filter_name: String,
    /// The module that runs.
    pub module: ModuleHash,
    /// For whom the callback runs.
    pub context: Context,
    /// The callback's export name: `proxy_on_request_headers`.
    pub callback: String,
    /// Why it stopped.
    pub reason: StopReason,
    /// Whether the receiving session may resume it.
    pub control: bool,
    /// Milliseconds until it is released unless its controller gives a sign of life.
    pub deadline_ms: u64,
    /// The innermost frames, at most 32.
    pub frames: Vec<Frame>,
    /// How many frames there are.
    pub frame_count: u32,
    /// The first stop of this slot: what earlier requests left in the filter's memory is not here.
    pub fresh_vm: bool,
}

/// For whom a callback runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Context {
    /// The filter itself: vm_start, configure, tick, and what comes before there is any context.
    Root {
        /// The root context; 0 before it is created.
        id: ContextId,
    },
    /// A transaction.
    Stream {
        /// The stream context.
        id: ContextId,
        /// The transaction, shown as `#17`.
        transaction: TransactionId,
        /// `GET`.
        method: String,
        /// `/path?query` as the client sent it, its first 1,000 characters.
        path: String,
    },
}

/// Why a slot stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StopReason {
    /// At breakpoints of any session.
    Breakpoint {
        /// The receiving session's own numbers; empty when only others have one there.
        ids: Vec<u32>,
    },
    /// A step is done.
    Step,
    /// As asked by [`Interrupt`].
    Interrupt,
    /// The guest is about to die of a trap; resuming lets it.
    Trap {
        /// wasmtime's name of the trap code: `unreachable`, `out of bounds memory access`, …
        message: String,
    },
}

/// One activation of a Wasm function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Index in the module's function index space (imports first).
    pub function: u32,
    /// Offset in the `.wasm` file. In frame 0 the opcode that runs next; in outer frames the opcode
    /// behind the call: look up `pc - 1`.
    pub pc: ModulePc,
    /// Parameters and locals by index; only the first when they do not fit a message.
    pub locals: Vec<Value>,
    /// The operand stack, top last; only its lower part when it does not fit a message.
    pub operands: Vec<Value>,
}

/// Asks for frames `first .. first + count`, 0 being the innermost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetFrames {
    /// Which stop.
    pub stop: StopId,
    /// First frame.
    pub first: u32,
    /// At most this many; the reply can be shorter.
    pub count: u32,
}

/// The most frames of a stop that a client reads: a guest's stack has no room for more, and a proxy may say
/// that there are any number.
pub const MAX_FRAMES: u32 = 1 << 14;

/// Frames of a stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameList {
    /// In order from `first`.
    pub frames: Vec<Frame>,
    /// How many there are in all.
    pub frame_count: u32,
}

/// Lets a stopped slot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Which stop.
    pub stop: StopId,
    /// How far.
    pub mode: ResumeMode,
}

/// How far a slot runs. Breakpoints, traps and interrupts end every mode early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum ResumeMode {
    /// To the next breakpoint.
    Continue,
    /// To the next opcode, into calls.
    Instruction,
    /// Until an opcode outside `ranges` is about to run in the starting frame, or the starting frame
    /// has returned (stop at the caller's next opcode). Calls run through ([`Calls::Over`]) or stop at
    /// the callee's first opcode ([`Calls::Into`]).
    Range {
        /// Half-open ranges of pcs.
        ranges: Vec<PcRange>,
        /// What a call does.
        calls: Calls,
    },
    /// Until the frame numbered `frame` has returned: stops at its caller's next opcode.
    /// When it is the outermost the callback ends ([`CallbackEnded`]) and nothing stops.
    Out {
        /// 0 is the innermost.
        frame: u32,
    },
    /// Until one of `pcs` is about to run in the frame numbered `frame` or one of its callers, or that
    /// frame has returned. Used for `until` and for skipping a callee's prologue.
    Until {
        /// Opcodes.
        pcs: Vec<ModulePc>,
        /// 0 is the innermost.
        frame: u32,
    },
}

/// What a step does at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Run the callee to its end (a breakpoint in it still stops).
    Over,
    /// Stop at the callee's first opcode.
    Into,
}

/// The slot runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {}

/// Stops the callback that runs in `slot`; [`Stopped`] follows. A slot with no callback under way stops
/// nowhere: the request fails with `state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// Which slot; `None`: every slot of this session that runs a callback.
    pub slot: Option<SlotId>,
}

/// The interrupt is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptNoted {
    /// How many slots will stop.
    pub slots: u32,
}

/// A stop is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Which stop.
    pub stop: StopId,
    /// The slot.
    pub slot: SlotId,
    /// Why.
    pub cause: ReleaseCause,
}

/// Why a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// Its controller resumed it.
    Resumed,
    /// The pause deadline passed.
    Deadline,
    /// The hard cap on a pause passed.
    HardCap,
    /// The controller detached or its connection died.
    Detached,
    /// The HTTP client of the transaction went away (an HTTP/1.1 FIN can be a half-close).
    ClientGone,
}

/// The stop will be released soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineWarning {
    /// Which stop.
    pub stop: StopId,
    /// Milliseconds left.
    pub remaining_ms: u64,
}

/// A callback on the debug lane is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackEnded {
    /// The slot.
    pub slot: SlotId,
    /// For whom it ran.
    pub context: Context,
    /// The callback's export name.
    pub callback: String,
    /// How it ended.
    pub outcome: CallbackOutcome,
}

/// How a callback ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CallbackOutcome {
    /// It returned.
    Returned {
        /// The Wasm result, if it has one (0 Continue, 1 Pause for header callbacks).
        value: Option<i32>,
        /// The status of a local response it sent.
        local_response: Option<u32>,
    },
    /// It trapped; the slot is rebuilt.
    Trapped {
        /// What happened, without source lines.
        message: String,
    },
}
