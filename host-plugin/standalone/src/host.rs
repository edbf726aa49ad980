//! The process as a whole: one filter, its lanes, its agent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{OnceCell, watch};
use wasmdbg_control::{Connection, FilterId};
use wasmdbg_proxy_wasm::{DebugLane, Filter, FilterConfig, Runtime, Settings};

use crate::http::listen::Listening;
use crate::http::play::Playing;
use crate::http::request_file::Section;
use crate::process::agent::{AgentThread, Ending};
use crate::process::embedder::{Process, STACK};
use crate::process::error::Error;
use crate::process::shared::Shared;
use crate::report::Report;
use crate::upstream::Upstream;

/// What a host is made of.
pub struct Options {
    /// The filter.
    pub filter: FilterConfig,
    /// Limits of callbacks and of the debug lane; `control.socket`, if given, is opened.
    pub settings: Settings,
    /// Where requests go; none: a plain 200 without a body answers them.
    pub upstream: Option<Upstream>,
    /// Takes logs, and what callbacks did.
    pub report: Arc<dyn Report>,
    /// Where compiled code of the debug lane is kept; none: nowhere.
    pub cache_folder: Option<PathBuf>,
}

/// A running host; ends when dropped, after its [`Listening`] and [`Playing`].
pub struct Host {
    shared: Arc<Shared>,
    agent: AgentThread,
}

impl Host {
    /// Compiles the filter and starts the agent. Nothing of the filter runs yet: its debug lane starts with a
    /// session, its fast lane when this listens or plays while nobody is attached, else with the first request
    /// there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(options: Options) -> Result<Self, Error> {
        let Options { filter, settings, upstream, report, cache_folder } = options;
        let embedder = Arc::new(Process { report: Arc::clone(&report) });
        let (runtime, traps) = Runtime::new(embedder, settings, STACK)?;
        let filter = Filter::prepare(&runtime, FilterId(0), filter);
        if let Some(reason) = filter.inactive_reason() {
            return Err(Error::Filter(reason.to_owned()));
        }
        let shared = Arc::new(Shared {
            lane: DebugLane::new(Arc::clone(&runtime)),
            runtime,
            filter,
            started: OnceCell::new(),
            turned: watch::Sender::new(()),
            upstream,
            report,
            in_flight: AtomicU64::new(0),
            last_id: AtomicU64::new(0),
        });
        let agent = AgentThread::start(&shared, traps, cache_folder)?;
        Ok(Self { shared, agent })
    }

    /// A connection to the agent, inside this process.
    ///
    /// # Errors
    /// The system has no descriptors or threads left.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::over(self.agent.remote.connect()?)
    }

    /// Takes the control socket away when a signal ends the process.
    pub fn ending(&self) -> Ending {
        self.agent.ending.clone()
    }

    /// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) at `address`, on `threads` threads.
    ///
    /// # Errors
    /// The port is taken, or there are no threads.
    pub fn listen(&self, address: SocketAddr, threads: usize) -> Result<Listening, Error> {
        Listening::start(&self.shared, address, threads)
    }

    /// Plays the sections of a file one after the other, on a thread of its own.
    ///
    /// # Errors
    /// There is no thread.
    pub fn play(&self, sections: Vec<Section>) -> Result<Playing, Error> {
        Playing::start(&self.shared, sections)
    }
}
