//! What the client has been shown, and under which numbers and names it knows that: threads, frames, values,
//! sources, breakpoints. Outlives a session where the client's knowledge does.

pub(crate) mod breakpoints;
pub(crate) mod handles;
pub(crate) mod last_lines;
pub(crate) mod references;
pub(crate) mod source_folders;
pub(crate) mod sources;
pub(crate) mod threads;

use std::sync::Arc;

use wasmdbg_session::{Session, Stop};

use crate::protocol::{Event, InvalidatedEvent, ThreadEvent};
use crate::transport::client::Client;
use crate::view::breakpoints::Breakpoints;
use crate::view::handles::Handles;
use crate::view::last_lines::LastLines;
use crate::view::sources::Sources;
use crate::view::threads::{Threads, Who};

/// All of it, each part with an owner of its own: requests take the parts that they need.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) threads: Threads,
    pub(crate) handles: Handles,
    pub(crate) sources: Sources,
    pub(crate) breakpoints: Breakpoints,
    pub(crate) last_lines: LastLines,
}

impl View {
    /// The session is over: nothing that was stopped is there any more.
    pub(crate) fn forget_stops(&mut self, client: &mut Client) {
        for thread_id in self.threads.clear() {
            client.event(&Event::Thread(ThreadEvent { reason: "exited", thread_id }));
        }
        self.handles.clear();
        self.last_lines.clear();
    }
}

/// The frame of an id, or the innermost one of the stop that is looked at.
pub(crate) fn frame_or_focus(
    session: Result<&Session, String>,
    threads: &Threads,
    handles: &Handles,
    frame: Option<i64>,
) -> Result<(Arc<Stop>, u32), String> {
    match frame.filter(|id| *id > 0) {
        Some(id) => handles.frame(id),
        None => threads.focus_or_why_not(session?).map(|stop| (stop, 0)),
    }
}

/// The program's state was changed from here: what was shown may be another value now.
pub(crate) fn changed(handles: &mut Handles, threads: &Threads, client: &mut Client, stop: &Stop) {
    handles.refresh(stop.id());
    if client.features.supports_invalidated_event {
        let thread_id = threads.known(Who::of_stop(stop));
        client.event(&Event::Invalidated(InvalidatedEvent { areas: vec!["variables"], thread_id }));
    }
}
