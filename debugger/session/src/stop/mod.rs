//! A stopped callback: its frames, scopes, variables and memory, read when asked for and kept until it
//! goes on. Readable from several threads; resuming is the session's.

mod end;

use std::sync::{Arc, Mutex, PoisonError};

use wasmdbg_control::StopId;
use wasmdbg_control::stop::{Context, StopReason, Stopped};

pub use end::End;

use crate::error::{Error, EvalError};
use crate::expression::{self, Expression};
use crate::frames::{Expansion, Frame, Scope, ScopeKind, Scoped, scope};
use crate::source::{SourceFinder, SourceLines};
use crate::target::Target;
use crate::value::{Value, Variable, encode, encode_global, is_enumerator};

/// One stop of one slot.
#[derive(Debug)]
pub struct Stop {
    target: Arc<Target>,
    /// Inlined frames at the pc that are not entered yet: the pc is their first opcode, and a step
    /// ended in front of their call.
    hidden: u32,
    /// As the user sees it: a step can end at the pc of an earlier stop.
    reason: StopReason,
    /// What the session has to say about it.
    notes: Vec<String>,
    /// What a function that was run to its end returned, in words.
    returned: Option<String>,
    expansion: Mutex<Expansion>,
}

/// What to say about a stop in one line and a few notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSummary {
    /// `GET /path #17`, or `root context 1`.
    pub thread: String,
    /// `breakpoint 1, 3`, `step`, `interrupt`, `trap: unreachable`, `panic (trap: unreachable)`.
    pub reason: String,
    /// What the user should know now: a fresh virtual machine, another controller.
    pub notes: Vec<String>,
}

impl Stop {
    pub(crate) fn new(target: Arc<Target>, hidden: u32, reason: StopReason) -> Self {
        Self { target, hidden, reason, notes: Vec::new(), returned: None, expansion: Mutex::default() }
    }

    pub(crate) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    pub(crate) fn with_returned(mut self, returned: Option<String>) -> Self {
        self.returned = returned;
        self
    }

    /// What the function returned that a step has just run to its end: `is_prime returned false`.
    pub fn returned(&self) -> Option<&str> {
        self.returned.as_deref()
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(crate) fn hidden(&self) -> u32 {
        self.hidden
    }

    /// As reported by the plugin: ids, context, callback, reason, control, deadline.
    pub fn info(&self) -> &Stopped {
        self.target.info()
    }

    /// Why it stands. After a step into an inlined call, which moves nothing, this is a step and
    /// [`Stop::info`] still says what first stopped the slot here.
    pub fn reason(&self) -> &StopReason {
        &self.reason
    }

    /// Its id, for [`crate::Session::resume`].
    pub fn id(&self) -> StopId {
        self.info().stop
    }

    /// The stop in words.
    pub fn summary(&self) -> StopSummary {
        let info = self.info();
        let reason = match &self.reason {
            StopReason::Breakpoint { ids } if ids.is_empty() => "breakpoint of another session".into(),
            StopReason::Breakpoint { ids } => {
                let numbers = ids.iter().map(u32::to_string).collect::<Vec<_>>();
                format!("breakpoint {}", numbers.join(", "))
            }
            StopReason::Step => "step".into(),
            StopReason::Interrupt => "interrupt".into(),
            StopReason::Trap { message } => match self.end() {
                Some(end @ (End::Panic | End::Abort)) => format!("{} (trap: {message})", end.name()),
                _ => format!("trap: {message}"),
            },
        };
        let mut notes = self.notes.clone();
        if info.fresh_vm {
            notes.push(
                "this virtual machine is the debugger's own: what earlier requests left in the filter's memory is \
                 not here"
                    .into(),
            );
        }
        if !info.control {
            notes.push("another session controls this stop: it can be looked at, not resumed".into());
        }
        StopSummary { thread: thread_name(&info.context), reason, notes }
    }

    /// What the filter is about to die of; `None` when it is not.
    pub fn end(&self) -> Option<End> {
        let StopReason::Trap { message } = &self.reason else { return None };
        // Without frames it is what the engine says.
        Some(end::end(message, &self.frames(0, end::FRAMES).unwrap_or_default()))
    }

    /// Numbers of this session's breakpoints that were hit here.
    pub fn breakpoints(&self) -> &[u32] {
        match &self.reason {
            StopReason::Breakpoint { ids } => ids,
            _ => &[],
        }
    }

    /// Frames `first ..`, at most `count` (all with `u32::MAX`), inlined calls expanded.
    ///
    /// # Errors
    /// Outer frames cannot be read.
    pub fn frames(&self, first: u32, count: u32) -> Result<Vec<Frame>, Error> {
        let last = first.saturating_add(count.saturating_sub(1));
        self.expanded(last, |frames| {
            frames
                .iter()
                .skip(first as usize)
                .take(count as usize)
                .map(|scoped| scoped.frame.clone())
                .collect()
        })
    }

    /// How many frames there are, inlined ones counted.
    ///
    /// # Errors
    /// Outer frames cannot be read.
    pub fn frame_count(&self) -> Result<u32, Error> {
        self.expanded(u32::MAX, |frames| frames.len() as u32)
    }

    /// One frame.
    ///
    /// # Errors
    /// [`Error::NoFrame`], or outer frames cannot be read.
    pub fn frame(&self, number: u32) -> Result<Frame, Error> {
        self.scoped(number).map(|scoped| scoped.frame)
    }

    /// A frame with what the session needs of it.
    pub(crate) fn scoped(&self, number: u32) -> Result<Scoped, Error> {
        self.expanded(number, |frames| {
            let outermost = (frames.len() as u32).saturating_sub(1);
            frames.get(number as usize).cloned().ok_or(Error::NoFrame { wanted: number, outermost })
        })?
    }

    fn expanded<T>(&self, number: u32, read: impl FnOnce(&[Scoped]) -> T) -> Result<T, Error> {
        let mut expansion = self.expansion.lock().unwrap_or_else(PoisonError::into_inner);
        expansion.reach(&self.target, self.hidden, number)?;
        Ok(read(expansion.frames()))
    }

    /// The scopes of a frame, the likely ones first.
    ///
    /// # Errors
    /// [`Error::NoFrame`].
    pub fn scopes(&self, frame: u32) -> Result<Vec<Scope>, Error> {
        Ok(scope::scopes(&self.target, &self.scoped(frame)?))
    }

    /// The variables of a scope of a frame.
    ///
    /// # Errors
    /// [`Error::NoFrame`]. A variable that cannot be read is one with such a value.
    pub fn variables(&self, frame: u32, scope: ScopeKind) -> Result<Vec<Variable>, Error> {
        scope::variables(&self.target, &self.scoped(frame)?, scope)
    }

    /// The value of an expression: names, fields, indexes, `*`, `->`, `&`, literals, arithmetic and
    /// comparisons.
    ///
    /// # Errors
    /// A syntax error, an unknown name, a wrong type, with its position.
    pub fn evaluate(&self, frame: u32, expression: &str) -> Result<Value, EvalError> {
        self.evaluate_tree(frame, &expression::parse(expression)?)
    }

    pub(crate) fn evaluate_tree(&self, frame: u32, tree: &Expression) -> Result<Value, EvalError> {
        let scoped =
            self.scoped(frame).map_err(|error| EvalError { position: 0, message: error.to_string() })?;
        expression::evaluate(&self.target, &scoped, tree)
    }

    /// Names of variables that a frame knows without a path, for completion.
    ///
    /// # Errors
    /// [`Error::NoFrame`].
    pub fn names(&self, frame: u32) -> Result<Vec<String>, Error> {
        Ok(scope::names(&self.target, &self.scoped(frame)?))
    }

    /// Sets a variable, field or element in linear memory to what `expression` gives in a frame; for an
    /// enumeration the name of an enumerator will do. What was read before shows the old value:
    /// [`Value::refreshed`].
    ///
    /// # Errors
    /// The expression has no value, the value does not fit, or `to` is not in linear memory: the engine
    /// cannot write Wasm locals.
    pub fn assign(&self, frame: u32, to: &Value, expression: &str) -> Result<(), Error> {
        let named = is_enumerator(to, expression);
        let new = match self.evaluate(frame, expression) {
            Ok(value) => value,
            Err(_) if named => {
                self.evaluate(frame, &format!("\"{}\"", expression.trim())).map_err(value_error)?
            }
            Err(source) => return Err(value_error(source)),
        };
        let (address, bytes) = encode(to, &new).map_err(Error::Invalid)?;
        self.write_memory(address, bytes)
    }

    /// Writes linear memory: all bytes or none.
    ///
    /// # Errors
    /// The address is outside the memory, another session controls the stop, or it is over.
    pub fn write_memory(&self, address: u64, bytes: Vec<u8>) -> Result<(), Error> {
        self.target.write(address, bytes)
    }

    /// Sets a Wasm global to what `expression` gives in a frame.
    ///
    /// # Errors
    /// It is no mutable number, the value does not fit, or the stop is over.
    pub fn assign_global(&self, frame: u32, index: u32, expression: &str) -> Result<(), Error> {
        let new = self.evaluate(frame, expression).map_err(value_error)?;
        let globals = self.target.globals().map_err(|why| Error::Invalid(why.to_string()))?;
        let old = globals.get(index as usize);
        let old = old.ok_or_else(|| Error::Invalid(format!("there is no global {index}")))?;
        self.target.write_global(index, encode_global(old, &new).map_err(Error::Invalid)?)
    }

    /// Where a variable of a frame is at its pc, as its DWARF has it, for a user who doubts a value;
    /// `None`: no such variable.
    ///
    /// # Errors
    /// [`Error::NoFrame`], or the function's debug info is broken.
    pub fn describe_location(&self, frame: u32, name: &str) -> Result<Option<String>, Error> {
        scope::describe_location(&self.target, &self.scoped(frame)?, name)
    }

    /// Bytes of linear memory; shorter at the memory's end.
    ///
    /// # Errors
    /// The address is outside the memory, or the stop is over.
    pub fn read_memory(&self, address: u64, length: u32) -> Result<Vec<u8>, Error> {
        let bytes = self.target.read_up_to(address, u64::from(length));
        match bytes.map_err(|why| Error::Invalid(why.to_string()))? {
            bytes if bytes.is_empty() && length > 0 => {
                Err(Error::Invalid(format!("address {address:#x} is outside the memory")))
            }
            bytes => Ok(bytes),
        }
    }

    /// The source lines around a frame's position, at most `context` on each side.
    ///
    /// # Errors
    /// The frame has no position, or the file is not on this machine: the message says how to map it.
    pub fn source(&self, frame: u32, context: u32, sources: &SourceFinder) -> Result<SourceLines, Error> {
        let frame = self.frame(frame)?;
        let position = frame.position.ok_or_else(|| {
            Error::Invalid(format!("{} has no line information: compile it with -g", frame.function))
        })?;
        let first = position.line.saturating_sub(context).max(1);
        sources.lines(&position.file, first, position.line.saturating_add(context))
    }
}

fn value_error(source: EvalError) -> Error {
    Error::Expression { what: "the new value", source }
}

/// A context as a thread is named: `GET /path #17`.
pub(crate) fn thread_name(context: &Context) -> String {
    match context {
        Context::Root { id } if id.0 == 0 => "filter start".into(),
        Context::Root { id } => format!("root context {id}"),
        Context::Stream { transaction, method, path, .. } => format!("{method} {path} #{transaction}"),
    }
}
