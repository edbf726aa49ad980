//! Live filters for a stock LLDB (22 or newer: its process plugin `wasm`), by the GDB remote protocol.
//!
//! A front end like the others: it speaks the control protocol to the proxy and gives LLDB what that
//! wants to know of Wasm: call stacks, locals, operands, globals, memory, and the module itself, whose
//! DWARF LLDB reads. Knows no DWARF.
//!
//! LLDB knows one process that runs or stands as a whole. It is shown one stopped transaction at a time,
//! as its only thread; others that stop meanwhile wait until it goes on. While nothing stands there is
//! one thread without frames. The proxy serves everybody else all the time.
//!
//! ```text
//!   LLDB ── bytes ──► serve ── packets ──► gdbstub ──► target ── requests ──► the proxy's agent
//!                       ▲                                space: addresses        │
//!                       └──────────────── events ────────────────────────────────┘
//! ```
#![forbid(unsafe_code)]

mod attach;
mod connection;
mod serve;
mod space;
mod target;
#[cfg(test)]
mod tests;
mod threads;

pub use attach::{AttachError, Attached};
pub use serve::{Listener, ServeError};
