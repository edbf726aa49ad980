//! A sampling profiler for processes that run WebAssembly: which function and line of which filter the
//! CPU goes to.
//!
//! ```text
//! perf events ─► ring ─► Sample ─► Walker ─► Recording ─► Profile ─► svg, collapsed, json, tables
//!  (perf)                          (unwind)  (recording)  (profile)  (output)
//!                                     ▲                       ▲
//! /proc/PID/{maps,mem} ─► Space ──────┘   debugger/symbols ───┘
//!  (target)               (space: host files, compiled images)
//! ```
//!
//! The target is neither stopped nor changed. What is recorded are addresses of code and the modules
//! themselves: never a byte of the target's stack or of its linear memories.

pub mod code;
pub mod descriptions;
pub mod host_names;
pub mod import;
pub mod limits;
pub mod modules;
pub mod output;
pub mod perf;
pub mod profile;
pub mod recorder;
pub mod recording;
pub mod target;
pub mod unwind;
