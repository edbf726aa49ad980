//! The Apache Traffic Server plugin: loaded as `wasmdbg.so [--settings wasmdbg.yaml] filter.yaml …`.
//!
//! The only crate that names the server's functions (`TS…`). `sys` has the raw interface and `ts`
//! makes it safe; beside them only the entry point is unsafe.
//!
//! ```text
//!   entry ─► init ─► plugin ◄── hooks ─► flow ─► transaction   what the ABI reads and writes
//!                      │                  ├─► worker            one per event thread: virtual machines, ticks
//!                      │                  ├─► release           parked transactions that may go on
//!                    agent                ├─► answer            responses made here
//!                                         └─► parking           transactions that stand in a debugger
//! ```

mod agent;
#[cfg(test)]
mod double;
mod embedder;
mod entry;
mod flow;
mod hooks;
mod init;
mod plugin;
mod statistics;
mod symbolise;
mod sys;
#[cfg(test)]
mod tests;
mod transaction;
pub mod ts;

pub use entry::TSPluginInit;
