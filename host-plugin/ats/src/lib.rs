//! The Apache Traffic Server plugin: loaded as `wasmdbg.so [--settings wasmdbg.yaml] filter.yaml …`.
//!
//! The only crate that names the server's functions (`TS…`). `sys` has the raw interface, `ts` makes
//! it safe; nothing else here is unsafe.

mod sys;
mod ts;
