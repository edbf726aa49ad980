//! Going on, stepping, pausing.

use wasmdbg_control::SlotId;
use wasmdbg_session::{Session, Step, Stop};

use crate::protocol::{Answer, Body, ContinueBody, Granularity, StepArguments, ThreadArguments};
use crate::view::handles::Handles;
use crate::view::threads::{PROXY, Threads, Who, controlled};

/// What goes on, and what is not valid any more then.
pub(crate) struct Running<'a> {
    pub(crate) session: &'a mut Session,
    pub(crate) threads: &'a mut Threads,
    pub(crate) handles: &'a mut Handles,
}

impl Running<'_> {
    /// One request goes on; the proxy's thread stands for all of them.
    pub(crate) fn go_on(mut self, arguments: &ThreadArguments) -> Answer {
        let stops = match arguments.thread_id {
            PROXY => controlled(self.session),
            thread => vec![self.threads.stop_of(self.session, thread)?],
        };
        for stop in &stops {
            self.resume(stop, Step::Continue)?;
        }
        let all_threads_continued = controlled(self.session).is_empty();
        Ok(Some(Body::from(ContinueBody { all_threads_continued })))
    }

    pub(crate) fn next(self, arguments: &StepArguments) -> Answer {
        self.step(arguments, Step::Over, Step::InstructionOver)
    }

    pub(crate) fn step_in(self, arguments: &StepArguments) -> Answer {
        self.step(arguments, Step::Into, Step::Instruction)
    }

    pub(crate) fn step_out(self, arguments: &StepArguments) -> Answer {
        let out = Step::Out { frame: 0 };
        self.step(arguments, out, out)
    }

    fn step(mut self, arguments: &StepArguments, line: Step, instruction: Step) -> Answer {
        let stop = self.threads.stop_of(self.session, arguments.thread_id)?;
        let step = match arguments.granularity {
            Granularity::Line => line,
            Granularity::Instruction => instruction,
        };
        self.resume(&stop, step)?;
        Ok(None)
    }

    fn resume(&mut self, stop: &Stop, step: Step) -> Result<(), String> {
        self.session.resume(stop.id(), step).map_err(|error| error.to_string())?;
        self.handles.drop_slot(stop.info().slot);
        if step != Step::Continue {
            self.threads.focus_on(stop.id());
        }
        Ok(())
    }
}

pub(crate) fn pause(
    session: Result<&Session, String>,
    threads: &Threads,
    arguments: &ThreadArguments,
) -> Answer {
    let slot = match arguments.thread_id {
        PROXY => None,
        thread => Some(slot_of(session.clone(), threads, thread)?),
    };
    session?.interrupt(slot).map_err(|error| error.to_string())?;
    Ok(None)
}

/// Where a thread runs.
fn slot_of(session: Result<&Session, String>, threads: &Threads, thread: i64) -> Result<SlotId, String> {
    let gone = || format!("there is no thread {thread}: its request is over");
    match threads.who(thread).ok_or_else(gone)? {
        Who::Root(slot) => Ok(slot),
        Who::Stream(id, filter) => {
            let list = session?.transactions().map_err(|error| error.to_string())?;
            let found = list.transactions.iter().find(|known| known.id == id && known.filter == filter);
            found.map(|known| known.slot).ok_or_else(gone)
        }
    }
}
