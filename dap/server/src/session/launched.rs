//! The small proxy of a launch while its session lasts: when its filter starts, where it is entered, what its
//! requests came to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmdbg_session::{BreakpointOptions, BreakpointSpec, Session};
use wasmdbg_standalone::request_file::Section;
use wasmdbg_standalone::{Host, Listening};

/// Where `stopOnEntry` stops: the first of these that runs. The names are those of the ABI.
const ENTRY: [&str; 5] =
    ["_initialize", "_start", "proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure"];

/// The proxy of a launch.
pub(crate) struct Launched {
    // Before the host: it is closed first.
    listening: Option<Listening>,
    host: Arc<Host>,
    requests: Vec<Section>,
    /// A callback of a request that was played has died.
    died: Arc<AtomicBool>,
    stop_on_entry: bool,
    /// The breakpoints of `stopOnEntry`.
    entry: Vec<u32>,
}

impl Launched {
    /// `died` is set by whoever hears of the callbacks.
    pub(crate) fn new(
        host: Arc<Host>,
        listening: Option<Listening>,
        requests: Vec<Section>,
        died: Arc<AtomicBool>,
        stop_on_entry: bool,
    ) -> Self {
        Self { listening, host, requests, died, stop_on_entry, entry: Vec::new() }
    }

    /// Where it serves requests.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(Listening::address)
    }

    /// Lets the filter start and plays the requests; `played` is called when all of them are over, unless the
    /// port serves others then.
    pub(crate) fn start(
        &mut self,
        session: &mut Session,
        played: impl FnOnce() + Send + 'static,
    ) -> Result<(), String> {
        if self.stop_on_entry {
            self.entry = entry_breakpoints(session);
        }
        let requests = std::mem::take(&mut self.requests);
        session.start().map_err(|error| error.to_string())?;
        if requests.is_empty() {
            return Ok(());
        }
        let ends = self.listening.is_none();
        let playing = self.host.play(requests).map_err(|error| error.to_string())?;
        let wait = move || {
            playing.wait();
            if ends {
                played();
            }
        };
        let spawned = std::thread::Builder::new().name("wasmdbg-played".into()).spawn(wait);
        spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
    }

    /// Whether a stop at these breakpoints is the one that `stopOnEntry` asked for. The other places where it
    /// could have been are none any more then.
    pub(crate) fn enters(&mut self, session: &mut Session, breakpoints: &[u32]) -> bool {
        let enters = breakpoints.iter().any(|number| self.entry.contains(number));
        if enters {
            for number in self.entry.drain(..) {
                // The one that was hit is gone already.
                let _ = session.delete_breakpoint(number);
            }
        }
        enters
    }

    /// That of `wasmdbg run --request`: 1 when a callback died.
    pub(crate) fn exit_code(&self) -> i64 {
        i64::from(self.died.load(Ordering::Relaxed))
    }
}

fn entry_breakpoints(session: &mut Session) -> Vec<u32> {
    let options = BreakpointOptions { temporary: true, ..BreakpointOptions::default() };
    let set = |name: &&str| {
        let breakpoint =
            session.set_breakpoint(BreakpointSpec::Function((*name).to_owned()), &options).ok()?;
        if breakpoint.is_pending() {
            let _ = session.delete_breakpoint(breakpoint.number);
            return None;
        }
        Some(breakpoint.number)
    };
    ENTRY.iter().filter_map(set).collect()
}
