//! `proxy_get_buffer_bytes`, `proxy_get_buffer_status`, `proxy_set_buffer_bytes`. Here are the two
//! configurations; bodies, streams and the replies of calls are not there yet.

use super::table::Table;
use super::unimplemented::not_there;
use crate::embedder::Status;
use crate::vm::guest::{Guest, Place, write_u32};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_get_buffer_bytes", bytes)?;
    table.env("proxy_get_buffer_status", status)?;
    table.env("proxy_set_buffer_bytes", set)
}

/// A buffer that is not there is NOT_FOUND: SDKs take that for "there is none now" and panic at everything
/// else. The configurations can be read at any time, not only in `proxy_on_vm_start` and
/// `proxy_on_configure`: reference hosts allow it and filters rely on it.
fn buffer<'a>(guest: &'a Guest<'_>, buffer: u32) -> Result<&'a [u8], Status> {
    let config = &guest.vm.core.config;
    match buffer {
        0 | 1 => Err(not_there(guest, "buffers of HTTP bodies", Status::NotFound)),
        2 | 3 => Err(not_there(guest, "buffers of TCP streams", Status::NotFound)),
        4 => Err(not_there(guest, "buffers of HTTP calls", Status::NotFound)),
        5 => Err(not_there(guest, "buffers of gRPC calls", Status::NotFound)),
        6 => Ok(config.vm_configuration.as_bytes()),
        7 => Ok(config.configuration.as_bytes()),
        8 => Err(not_there(guest, "arguments of foreign functions", Status::NotFound)),
        _ => Err(Status::BadArgument),
    }
}

/// At most `max_size` bytes from `start` on. BAD_ARGUMENT when their sum overflows.
fn bytes(
    guest: &mut Guest<'_>,
    id: u32,
    start: u32,
    max_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let mut scratch = std::mem::take(&mut guest.vm.scratch);
    scratch.clear();
    let found = buffer(guest, id).and_then(|all| {
        let end = start.checked_add(max_size).ok_or(Status::BadArgument)? as usize;
        let start = (start as usize).min(all.len());
        scratch.extend_from_slice(&all[start..end.min(all.len())]);
        Ok(place)
    });
    guest.vm.scratch = scratch;
    found
}

/// The size of a buffer; the second number is not used by the ABI.
fn status(guest: &mut Guest<'_>, id: u32, size_at: u32, unused_at: u32) -> Result<(), Status> {
    let size = u32::try_from(buffer(guest, id)?.len()).map_err(|_| Status::InternalFailure)?;
    write_u32(guest.memory, size_at, size)?;
    write_u32(guest.memory, unused_at, 0)
}

/// A configuration cannot be written: BAD_ARGUMENT.
fn set(
    guest: &mut Guest<'_>,
    id: u32,
    _start: u32,
    _size: u32,
    _value_at: u32,
    _value_size: u32,
) -> Result<(), Status> {
    buffer(guest, id)?;
    Err(Status::BadArgument)
}
