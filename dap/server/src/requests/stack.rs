//! Frames of what is stopped, a page at a time.

use std::sync::Arc;

use wasmdbg_session::{Format, Frame, ScopeKind, Session, Stop, Variable as Found, is_library};

use crate::protocol::{
    Answer, Body, StackFrame, StackFrameFormat, StackTraceArguments, StackTraceBody, given,
};
use crate::transport::client::Client;
use crate::view::handles::{Handle, Handles};
use crate::view::references::{code_reference, module_id};
use crate::view::sources::Sources;
use crate::view::threads::Threads;

/// What a page of frames is made from.
pub(crate) struct Stack<'a> {
    pub(crate) session: &'a Session,
    pub(crate) threads: &'a Threads,
    pub(crate) handles: &'a mut Handles,
    pub(crate) sources: &'a mut Sources,
    pub(crate) client: &'a Client,
}

impl Stack<'_> {
    pub(crate) fn trace(mut self, arguments: &StackTraceArguments) -> Answer {
        let stop = self.threads.stop_of(self.session, arguments.thread_id)?;
        let first = u32::try_from(arguments.start_frame).unwrap_or(0);
        let levels = given(arguments.levels).unwrap_or(u32::MAX);
        // One more tells whether there are more.
        let mut frames = stop.frames(first, levels.saturating_add(1)).map_err(|error| error.to_string())?;
        let more = frames.len() > levels as usize;
        frames.truncate(levels as usize);
        let total_frames = i64::from(first) + frames.len() as i64 + i64::from(more);
        let stack_frames =
            frames.iter().map(|frame| self.stack_frame(&stop, frame, arguments.format)).collect();
        Ok(Some(Body::from(StackTraceBody { stack_frames, total_frames })))
    }

    fn stack_frame(&mut self, stop: &Arc<Stop>, frame: &Frame, format: StackFrameFormat) -> StackFrame {
        let id = self.handles.give_once(stop, Handle::Frame(frame.number));
        let module = stop.info().module;
        let mut name = frame.function.clone();
        if format.parameters {
            name.push_str(&parameters(stop, frame.number, format));
        }
        if format.module {
            name = format!("{}!{name}", stop.info().filter_name);
        }
        if let Some(position) = frame.position.as_ref().filter(|_| format.line) {
            name.push_str(&format!(" line {}", position.line));
        }
        let subtle = frame.position.as_ref().is_none_or(|position| is_library(&position.file));
        let position = frame.position.as_ref();
        StackFrame {
            source: position.map(|position| self.sources.source(self.session, self.client, &position.file)),
            line: position.map_or(0, |position| self.client.line_out(position.line)),
            column: position.map_or(0, |position| self.client.column_out(position.column.max(1))),
            instruction_pointer_reference: code_reference(self.session, module, frame.pc).unwrap_or_default(),
            module_id: module_id(self.session, module),
            presentation_hint: subtle.then_some("subtle"),
            ..StackFrame::bare(id, name)
        }
    }
}

impl StackFrame {
    fn bare(id: i64, name: String) -> Self {
        Self {
            id,
            name,
            source: None,
            line: 0,
            column: 0,
            instruction_pointer_reference: String::new(),
            module_id: None,
            presentation_hint: None,
        }
    }
}

/// `(token: 7, text)`.
fn parameters(stop: &Stop, frame: u32, format: StackFrameFormat) -> String {
    let found = stop.variables(frame, ScopeKind::Arguments).unwrap_or_default();
    let numbers = if format.hex { Format::Hex } else { Format::Natural };
    let one = |found: &Found| match (format.parameter_names, format.parameter_values) {
        (true, true) => format!("{}: {}", found.name, found.value.formatted(numbers)),
        (false, true) => found.value.formatted(numbers),
        _ => found.name.clone(),
    };
    format!("({})", found.iter().map(one).collect::<Vec<_>>().join(", "))
}
