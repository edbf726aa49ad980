//! Proxy-Wasm filters in a small HTTP proxy of their own: the second host of the ABI, for people who
//! have no other proxy at hand.
//!
//! Both lanes, the agent and the control protocol are those of the plugin; what is here is HTTP/1.1 and
//! HTTP/2 in, HTTP/1.1 out, and requests and calls of the filter played from a file. One filter in one process.
//!
//! ```text
//!   listen ─► worker (a thread: one virtual machine of the fast lane, ticks)
//!   play   ─►   └► serve: request ─ filter ─ upstream ─ filter ─ response
//!                            flow ─► fast lane, or a slot of the debug lane
//!   connect ─► agent (a thread)
//! ```
#![forbid(unsafe_code)]

mod host;
mod http;
mod process;
mod program;
mod report;
mod transaction;
mod upstream;

pub use self::http::listen::Listening;
pub use self::http::play::Playing;
pub use self::http::request_file;
pub use self::process::agent::Ending;
pub use self::process::error::Error;
pub use host::{Host, Options};
pub use program::{Program, ProgramError};
pub use report::{Called, Change, Happening, Report, Side, Verdict};
pub use upstream::{Upstream, UpstreamError};
