//! Going on, stepping, pausing; what a trap was.

use std::sync::Arc;

use wasmdbg_control::SlotId;
use wasmdbg_control::stop::{Context, StopReason};
use wasmdbg_session::{End, Frame, Step, Stop};

use crate::adapter::{Adapter, Answer};
use crate::events::local_response;
use crate::protocol::{
    Body, ContinueBody, ExceptionDetails, ExceptionInfoBody, Granularity, StepArguments, ThreadArguments,
};
use crate::view::threads::{PROXY, Who};

impl Adapter {
    /// One request goes on; the proxy's thread stands for all of them.
    pub(crate) fn go_on(&mut self, arguments: &ThreadArguments) -> Answer {
        let stops = match arguments.thread_id {
            PROXY => {
                self.session()?;
                self.stops()
            }
            thread => vec![self.stop_of(thread)?],
        };
        for stop in &stops {
            self.resume(stop, Step::Continue)?;
        }
        let all_threads_continued = self.stops().is_empty();
        Ok(Some(Body::from(ContinueBody { all_threads_continued })))
    }

    pub(crate) fn next(&mut self, arguments: &StepArguments) -> Answer {
        self.step(arguments, Step::Over, Step::InstructionOver)
    }

    pub(crate) fn step_in(&mut self, arguments: &StepArguments) -> Answer {
        self.step(arguments, Step::Into, Step::Instruction)
    }

    pub(crate) fn step_out(&mut self, arguments: &StepArguments) -> Answer {
        let out = Step::Out { frame: 0 };
        self.step(arguments, out, out)
    }

    fn step(&mut self, arguments: &StepArguments, line: Step, instruction: Step) -> Answer {
        let stop = self.stop_of(arguments.thread_id)?;
        let step = match arguments.granularity {
            Granularity::Line => line,
            Granularity::Instruction => instruction,
        };
        self.resume(&stop, step)?;
        Ok(None)
    }

    fn resume(&mut self, stop: &Arc<Stop>, step: Step) -> Result<(), String> {
        self.session()?.resume(stop.id(), step).map_err(|error| error.to_string())?;
        self.handles.drop_slot(stop.info().slot);
        if step != Step::Continue {
            self.threads.focus_on(stop.id());
        }
        Ok(())
    }

    pub(crate) fn pause(&mut self, arguments: &ThreadArguments) -> Answer {
        let slot = match arguments.thread_id {
            PROXY => None,
            thread => Some(self.slot_of(thread)?),
        };
        self.session()?.interrupt(slot).map_err(|error| error.to_string())?;
        Ok(None)
    }

    /// Where a thread runs.
    fn slot_of(&mut self, thread: i64) -> Result<SlotId, String> {
        let gone = || format!("there is no thread {thread}: its request is over");
        match self.threads.who(thread).ok_or_else(gone)? {
            Who::Root(slot) => Ok(slot),
            Who::Stream(id, filter) => {
                let list = self.session()?.transactions().map_err(|error| error.to_string())?;
                let found = list.transactions.iter().find(|known| known.id == id && known.filter == filter);
                found.map(|known| known.slot).ok_or_else(gone)
            }
        }
    }

    pub(crate) fn exception_info(&mut self, arguments: &ThreadArguments) -> Answer {
        let stop = self.stop_of(arguments.thread_id)?;
        let responds = stop
            .breakpoints()
            .iter()
            .filter_map(|number| self.breakpoints.of_number(*number))
            .any(|(_, reason)| reason == "exception");
        let StopReason::Trap { message } = stop.reason() else {
            if responds {
                return Ok(Some(Body::from(ExceptionInfoBody {
                    exception_id: "local response".into(),
                    description: format!(
                        "{} is about to answer the request itself{}",
                        stop.info().callback,
                        local_response(&stop)
                    ),
                    break_mode: "always",
                    details: ExceptionDetails {
                        message: None,
                        type_name: "local response".into(),
                        stack_trace: stack_trace(&stop)?,
                    },
                })));
            }
            return Err("this request is stopped neither by a trap nor at a local response".into());
        };
        let info = stop.info();
        let transaction = match &info.context {
            Context::Stream { transaction, .. } => Some(*transaction),
            Context::Root { .. } => None,
        };
        let logged = self.last_log.get(&(info.filter, transaction));
        let logged = logged.map(|lines| lines.iter().cloned().collect::<Vec<_>>().join("\n"));
        let said =
            logged.as_ref().map_or_else(String::new, |text| format!("; the filter logged last: {text}"));
        let end = stop.end().unwrap_or(End::Trap);
        let (exception_id, what) = match end {
            End::Panic => (end.name().to_owned(), "a panic".to_owned()),
            End::Abort => (end.name().to_owned(), "an abort".to_owned()),
            End::Trap => (message.clone(), format!("a trap: {message}")),
        };
        Ok(Some(Body::from(ExceptionInfoBody {
            exception_id,
            description: format!("{} is about to end with {what}{said}", info.callback),
            break_mode: "always",
            details: ExceptionDetails {
                message: logged,
                type_name: end.name().into(),
                stack_trace: stack_trace(&stop)?,
            },
        })))
    }
}

/// Frames as lines.
fn stack_trace(stop: &Stop) -> Result<String, String> {
    let frames = stop.frames(0, 50).map_err(|error| error.to_string())?;
    let line = |frame: &Frame| match &frame.position {
        Some(position) => format!("{} ({position})", frame.function),
        None => frame.function.clone(),
    };
    Ok(frames.iter().map(line).collect::<Vec<_>>().join("\n"))
}
