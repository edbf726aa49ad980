//! The host functions of Proxy-Wasm 0.1.0 to 0.2.1 and the WASI preview 1 functions that guests import, by topic.
//! They act on [`Guest`](crate::vm::guest::Guest) and leave effects; they never enter the guest and never
//! touch the proxy's flow.
//!
//! Adding a host function is one function in the file of its topic and a line of that file's `define`: the
//! [`table`] links it in both lanes, and it stops answering UNIMPLEMENTED.

mod buffers;
mod calls;
mod emscripten;
mod errno;
mod foreign;
mod headers;
mod lifecycle;
pub(crate) mod linker;
mod local_response;
mod log;
mod metrics;
mod older;
mod properties;
mod queues;
mod serialize;
mod shared_data;
mod streams;
pub(crate) mod table;
mod tick;
mod time;
mod unimplemented;
pub(crate) mod version;
mod wasi;
mod wasi_files;

use self::table::Table;

/// Fills the table with every function the host has.
fn define(table: &mut Table) -> wasmtime::Result<()> {
    lifecycle::define(table)?;
    log::define(table)?;
    time::define(table)?;
    tick::define(table)?;
    headers::define(table)?;
    buffers::define(table)?;
    calls::define(table)?;
    foreign::define(table)?;
    properties::define(table)?;
    shared_data::define(table)?;
    queues::define(table)?;
    metrics::define(table)?;
    local_response::define(table)?;
    streams::define(table)?;
    older::define(table)?;
    wasi::define(table)?;
    wasi_files::define(table)?;
    emscripten::define(table)
}
