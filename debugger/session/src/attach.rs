//! The attach request, which can take as long as a compile: its progress is told while it is under way.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attach, Attached, LaneStart};
use wasmdbg_control::{Client, Event};

use crate::{Error, Progress, SymbolOptions};

/// Compiling a large module for debugging on one thread at nice 19, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the answer is looked for while no event comes.
const TICK: Duration = Duration::from_millis(10);

/// What to attach to. The default takes every active filter with a generated token rule.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Names of the filters to debug; empty means every active one.
    pub filters: Vec<String>,
    /// Which transactions; empty and not `all`: the plugin makes a token rule.
    pub rules: Vec<Rule>,
    /// Every transaction.
    pub all: bool,
    /// How long a stop may last without a sign of life; `None`: the plugin's setting.
    pub deadline: Option<Duration>,
    /// When the filters start; with [`LaneStart::Held`] see [`crate::Session::start`].
    pub start: LaneStart,
    /// Where symbols come from.
    pub symbols: SymbolOptions,
}

/// Attaches; the events that came meanwhile and are no progress are the session's first.
pub(crate) fn attach(
    client: &Client,
    events: &Receiver<Event>,
    options: &AttachOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Attached, Vec<Event>), Error> {
    let request = Attach {
        filters: options.filters.clone(),
        rules: options.rules.clone(),
        all: options.all,
        deadline_ms: options.deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        start: options.start,
    };
    let mut early = Vec::new();
    let mut take = |event| match event {
        Event::LaneProgress(lane) => progress(&Progress::Lane(lane)),
        other => early.push(other),
    };
    let attached = std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call_within(request, PATIENCE));
        while !call.is_finished() {
            match events.recv_timeout(TICK) {
                Ok(event) => take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // The call fails as well and says why.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        call.join().expect("invariant: a call does not panic")
    })?;
    events.try_iter().for_each(take);
    Ok((attached, early))
}
