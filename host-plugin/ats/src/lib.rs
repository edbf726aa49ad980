//! The Apache Traffic Server plugin: loaded as `wasmdbg.so [--settings wasmdbg.yaml] filter.yaml …`.
//!
//! The only crate that names the server's functions (`TS…`). `sys` has the raw interface and `ts`
//! makes it safe; beside them only `TSPluginInit` itself is unsafe.
//!
//! ```text
//!   init ─► plugin ◄── hooks ─► flow ─► worker      one per event thread: virtual machines, ticks
//!                                │  └─► answer      responses made here
//!                                └────► transaction what the ABI reads and writes
//! ```

mod agent;
mod answer;
mod embedder;
mod flow;
mod hooks;
mod init;
mod parking;
mod plugin;
mod symbolise;
mod sys;
mod transaction;
mod ts;
mod worker;

pub use init::TSPluginInit;
