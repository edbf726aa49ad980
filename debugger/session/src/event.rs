//! What a session tells its front end.

use std::sync::Arc;

use wasmdbg_control::session::{LaneFailed, LaneProgress};
use wasmdbg_control::stop::{CallbackEnded, DeadlineWarning, Released};
use wasmdbg_control::transactions::{LogLine, Missed, TransactionEnded, TransactionInfo};

use crate::breakpoints::Breakpoint;
use crate::source::Position;
use crate::stop::Stop;

/// Something happened.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// A slot stands. A step that needed several resumes reports only its last stop.
    Stopped(Arc<Stop>),
    /// A breakpoint with a message was hit; what hit it went on.
    LogPoint {
        /// The breakpoint's number.
        breakpoint: u32,
        /// Who hit it, as a stop's thread is named.
        thread: String,
        /// The message, its expressions replaced.
        text: String,
        /// Where.
        position: Option<Position>,
    },
    /// A stop ended without this session's doing (deadline, client gone, another session).
    Released(Released),
    /// A callback returned or trapped. When it ends a step, no stop follows.
    CallbackEnded {
        /// As reported by the plugin.
        ended: CallbackEnded,
        /// A step of this session was under way in that slot and ends with this.
        ended_step: bool,
    },
    /// A transaction entered the debug lane.
    TransactionStarted(TransactionInfo),
    /// A transaction of the debug lane is over.
    TransactionEnded(TransactionEnded),
    /// A stop will be released soon.
    DeadlineWarning(DeadlineWarning),
    /// A matching transaction took the fast lane, and why.
    Missed(Missed),
    /// A filter on the debug lane logged a line.
    Log(LogLine),
    /// A debug lane is being made ready again.
    LaneProgress(LaneProgress),
    /// A debug lane is gone; its breakpoints are not bound.
    LaneFailed(LaneFailed),
    /// A breakpoint was deleted (temporary) or bound elsewhere.
    BreakpointChanged(Breakpoint),
    /// The connection is gone; the session is over.
    Disconnected(String),
}
