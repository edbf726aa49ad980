//! A stopped callback: its frames, scopes, variables and memory, read when asked for and kept until it
//! goes on. Readable from several threads; resuming is the session's.

use wasmdbg_control::stop::Stopped;
use wasmdbg_control::StopId;

use crate::{Error, EvalError, Frame, Scope, ScopeKind, SourceFinder, SourceLines, Value, Variable};

/// One stop of one slot.
#[derive(Debug)]
pub struct Stop {
    info: Stopped,
}

/// What to say about a stop in one line and a few notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSummary {
    /// `GET /path #17`, or `root context 1`.
    pub thread: String,
    /// `breakpoint 1, 3`, `step`, `interrupt`, `trap: unreachable`.
    pub reason: String,
    /// What the user should know now: a fresh virtual machine, another controller.
    pub notes: Vec<String>,
}

impl Stop {
    /// As reported by the plugin: ids, context, callback, reason, control, deadline.
    pub fn info(&self) -> &Stopped {
        &self.info
    }

    /// Its id, for [`crate::Session::resume`].
    pub fn id(&self) -> StopId {
        self.info.stop
    }

    /// The stop in words.
    pub fn summary(&self) -> StopSummary {
        unimplemented!()
    }

    /// Numbers of this session's breakpoints that were hit here.
    pub fn breakpoints(&self) -> &[u32] {
        unimplemented!()
    }

    /// Frames `first ..`, at most `count` (all with `u32::MAX`), inlined calls expanded.
    ///
    /// # Errors
    /// Outer frames cannot be read.
    pub fn frames(&self, first: u32, count: u32) -> Result<Vec<Frame>, Error> {
        let _ = (first, count);
        unimplemented!()
    }

    /// How many frames there are, inlined ones counted.
    ///
    /// # Errors
    /// Outer frames cannot be read.
    pub fn frame_count(&self) -> Result<u32, Error> {
        unimplemented!()
    }

    /// One frame.
    ///
    /// # Errors
    /// [`Error::NoFrame`], or outer frames cannot be read.
    pub fn frame(&self, number: u32) -> Result<Frame, Error> {
        let _ = number;
        unimplemented!()
    }

    /// The scopes of a frame, the likely ones first.
    ///
    /// # Errors
    /// [`Error::NoFrame`].
    pub fn scopes(&self, frame: u32) -> Result<Vec<Scope>, Error> {
        let _ = frame;
        unimplemented!()
    }

    /// The variables of a scope of a frame.
    ///
    /// # Errors
    /// [`Error::NoFrame`]. A variable that cannot be read is one with such a value.
    pub fn variables(&self, frame: u32, scope: ScopeKind) -> Result<Vec<Variable>, Error> {
        let _ = (frame, scope);
        unimplemented!()
    }

    /// The value of an expression: names, fields, indexes, `*`, `->`, `&`, literals.
    ///
    /// # Errors
    /// A syntax error, an unknown name, a wrong type, with its position.
    pub fn evaluate(&self, frame: u32, expression: &str) -> Result<Value, EvalError> {
        let _ = (frame, expression);
        unimplemented!()
    }

    /// Bytes of linear memory; shorter at the memory's end.
    ///
    /// # Errors
    /// The address is outside the memory, or the stop is over.
    pub fn read_memory(&self, address: u64, length: u32) -> Result<Vec<u8>, Error> {
        let _ = (address, length);
        unimplemented!()
    }

    /// The source lines around a frame's position, at most `context` on each side.
    ///
    /// # Errors
    /// The frame has no position, or the file is not on this machine: the message says how to map it.
    pub fn source(&self, frame: u32, context: u32, sources: &SourceFinder) -> Result<SourceLines, Error> {
        let _ = (frame, context, sources);
        unimplemented!()
    }
}
