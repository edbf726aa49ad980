//! `proxy_continue_stream`, `proxy_close_stream`.

use super::table::Table;
use super::unimplemented::not_there;
use crate::embedder::Status;
use crate::outcome::{Action, StreamType};
use crate::vm::guest::Guest;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_continue_stream", resume)?;
    table.env("proxy_close_stream", close)
}

fn stream_type(guest: &Guest<'_>, number: u32) -> Result<StreamType, Status> {
    match number {
        0 => Ok(StreamType::Request),
        1 => Ok(StreamType::Response),
        2 | 3 => Err(not_there(&guest.vm.core, "TCP streams", Status::Unimplemented)),
        _ => Err(Status::BadArgument),
    }
}

/// Lets a parked transaction go on. OK also when it is not parked there.
pub(super) fn resume(guest: &mut Guest<'_>, stream: u32) -> Result<(), Status> {
    let stream = stream_type(guest, stream)?;
    guest.vm.contexts.resume(stream)
}

/// Closes the transaction: HTTP/1.1 has one connection for both directions.
fn close(guest: &mut Guest<'_>, stream: u32) -> Result<(), Status> {
    stream_type(guest, stream)?;
    guest.vm.contexts.decide(Action::Close)
}
