//! The attach request, which can take as long as a compile: its progress is told while it is under way.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use wasmdbg_control::filters::ListFilters;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attach, Attached, LaneStart};
use wasmdbg_control::{Client, Event, Events};

use crate::error::Error;
use crate::modules::SymbolOptions;
use crate::progress::Progress;

/// Compiling a large module for debugging on one thread at nice 19, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the answer is looked for while no event comes.
const TICK: Duration = Duration::from_millis(10);

/// How often the proxy is asked something else meanwhile, which it answers at once whatever it compiles.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// How long it may take for that.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(10);

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

/// Attaches; events that are no progress stay where they are. A proxy that answers nothing at all is given up
/// long before a compile would be.
pub(crate) fn attach(
    client: &Client,
    events: &Events,
    options: &AttachOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Attached, Error> {
    let request = Attach {
        filters: options.filters.clone(),
        rules: options.rules.clone(),
        all: options.all,
        deadline_ms: options.deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        start: options.start,
    };
    let mut next_progress = |timeout| {
        let event = events.next_of(|event| matches!(event, Event::LaneProgress(_)), timeout)?;
        if let Event::LaneProgress(lane) = event {
            progress(&Progress::Lane(lane));
        }
        Ok(())
    };
    let attached = std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call_within(request, PATIENCE));
        let mut asked = Instant::now();
        while !call.is_finished() {
            match next_progress(TICK) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                // The call fails as well and says why.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if asked.elapsed() > SIGN_OF_LIFE {
                if let Err(silent) = client.call_within(ListFilters {}, AT_ONCE) {
                    // The call of the attach ends with it.
                    client.close();
                    return Err(silent);
                }
                asked = Instant::now();
            }
        }
        call.join().expect("invariant: a call does not panic")
    })?;
    while next_progress(Duration::ZERO).is_ok() {}
    Ok(attached)
}
