//! What the end-to-end tests, the demo and the benchmarks are made of: isolated Traffic Servers,
//! clients, background load and a driver for the `wasmdbg` binary.
//!
//! Everything here runs the real binaries on loopback, in folders of its own, and ends what it
//! started when it is dropped. Nothing here links the plugin or a Wasm engine.

#![forbid(unsafe_code)]

pub mod ats;
pub mod bench;
pub mod browser;
pub mod build;
pub mod dap;
pub mod faults;
pub mod http;
pub mod http2;
pub mod load;
pub mod module;
pub mod origin;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod schema;
pub mod scratch;
pub mod soak;
pub mod streams;
pub mod text;
pub mod wasmdbg;
