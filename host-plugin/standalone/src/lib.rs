//! Proxy-Wasm filters in a small HTTP proxy of their own: the second host of the ABI, for people who
//! have no other proxy at hand.
//!
//! Both lanes, the agent and the control protocol are those of the plugin; what is here is HTTP/1.1 and
//! HTTP/2 in, HTTP/1.1 out, and requests played from a file. One filter in one process.
//!
//! ```text
//!   listen ─► worker (a thread: one virtual machine of the fast lane, ticks)
//!   play   ─►   └► serve: request ─ filter ─ upstream ─ filter ─ response
//!                            flow ─► fast lane, or a slot of the debug lane
//!   connect ─► agent (a thread)
//! ```
#![forbid(unsafe_code)]

mod agent;
mod embedder;
mod exchange;
mod fields;
mod flow;
mod host;
mod listen;
mod play;
mod program;
mod properties;
mod report;
pub mod request_file;
mod serve;
mod symbolise;
mod upstream;
mod worker;

pub use agent::Ending;
pub use host::{Error, Host, Options};
pub use listen::Listening;
pub use play::Playing;
pub use program::{Program, ProgramError};
pub use report::{Change, Happening, Report, Side, Verdict};
pub use upstream::{Upstream, UpstreamError};
