//! Why there is no host.

use std::io;
use std::net::SocketAddr;

use wasmdbg_control::server::BindError;

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No engine.
    #[error("{0}")]
    Engine(#[from] wasmdbg_proxy_wasm::filter::EngineError),
    /// The filter cannot run.
    #[error("the filter cannot run: {0}")]
    Filter(String),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The agent has no thread or no descriptors.
    #[error("no debugger can attach: {0}")]
    Agent(io::Error),
    /// The port.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// No thread.
    #[error("the system gives no thread: {0}")]
    Thread(io::Error),
}
