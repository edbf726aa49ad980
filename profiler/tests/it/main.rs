//! The profiler as a whole: the `wasmprof` binary against programs of this crate. Tests share two cores with
//! the programs that they measure, so those that measure shares take turns.

mod broken_input;
mod controlled;
mod corpora;
mod flame_graph;
mod hostile;
mod namespaces;
mod other_engines;
mod perf_data;
mod permissions;
mod recordings;
mod shares;
mod support;
mod traffic_server;
