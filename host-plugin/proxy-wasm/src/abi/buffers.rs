//! `proxy_get_buffer_bytes`, `proxy_get_buffer_status`, `proxy_set_buffer_bytes`. They work on what [`with`] finds
//! for a number, whatever that is.

use std::ops::Range;

use super::table::Table;
use super::unimplemented::not_there;
use crate::embedder::{Buffer, BufferKind, Status};
use crate::filter::core::FilterCore;
use crate::vm::contexts::Contexts;
use crate::vm::guest::{Guest, Place, read, write_u32};
use crate::vm::mailbox::Letter;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_get_buffer_bytes", bytes)?;
    table.env("proxy_get_buffer_status", status)?;
    table.env("proxy_set_buffer_bytes", set)
}

/// Does `work` with the buffer of a number. BAD_ARGUMENT when there is none.
///
/// One that is not there now is NOT_FOUND: SDKs take that for "there is none" and panic at everything else. The
/// configurations can be read at any time, not only in `proxy_on_vm_start` and `proxy_on_configure`: reference
/// hosts allow it and filters rely on it.
fn with<T>(
    contexts: &mut Contexts,
    core: &FilterCore,
    buffer: u32,
    work: impl FnOnce(&mut dyn Buffer) -> Result<T, Status>,
) -> Result<T, Status> {
    let absent = |what| Err(not_there(core, what, Status::NotFound));
    match buffer {
        0 => work(body(contexts, core, BufferKind::RequestBody)?),
        1 => work(body(contexts, core, BufferKind::ResponseBody)?),
        2 | 3 => absent("buffers of TCP streams"),
        4 => absent("buffers of HTTP calls"),
        5 => absent("buffers of gRPC calls"),
        6 => work(&mut ReadOnly(core.config.vm_configuration.as_bytes())),
        7 => work(&mut ReadOnly(core.config.configuration.as_bytes())),
        8 => match contexts.letter() {
            Some(Letter::ForeignFunction { arguments, .. }) => work(&mut ReadOnly(arguments)),
            _ => Err(Status::NotFound),
        },
        _ => Err(Status::BadArgument),
    }
}

fn body<'a>(
    contexts: &'a mut Contexts,
    core: &FilterCore,
    kind: BufferKind,
) -> Result<&'a mut dyn Buffer, Status> {
    let lent = contexts.transaction().and_then(|transaction| transaction.buffer(kind));
    lent.map_err(|status| match status {
        Status::Unimplemented => not_there(core, "buffers of HTTP bodies", Status::NotFound),
        _ => Status::NotFound,
    })
}

/// Bytes of the host that no guest changes.
struct ReadOnly<'a>(&'a [u8]);

impl Buffer for ReadOnly<'_> {
    fn size(&mut self) -> Result<usize, Status> {
        Ok(self.0.len())
    }

    fn read(&mut self, range: Range<usize>, bytes: &mut Vec<u8>) -> Result<(), Status> {
        bytes.extend_from_slice(self.0.get(range).ok_or(Status::BadArgument)?);
        Ok(())
    }

    fn splice(&mut self, _: Range<usize>, _: &[u8]) -> Result<(), Status> {
        Err(Status::BadArgument)
    }
}

/// `size` bytes from `start` on, as many of them as there are. BAD_ARGUMENT when their sum overflows.
fn range(buffer: &mut dyn Buffer, start: u32, size: u32) -> Result<Range<usize>, Status> {
    let end = start.checked_add(size).ok_or(Status::BadArgument)? as usize;
    let all = buffer.size()?;
    Ok((start as usize).min(all)..end.min(all))
}

/// At most `max_size` bytes from `start` on. BAD_ARGUMENT when their sum overflows.
fn bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    max_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let vm = &mut *guest.vm;
    vm.scratch.clear();
    with(&mut vm.contexts, &vm.core, buffer, |buffer| {
        let range = range(buffer, start, max_size)?;
        buffer.read(range, &mut vm.scratch)
    })?;
    Ok(place)
}

/// The size of a buffer; the second number is not used by the ABI.
fn status(guest: &mut Guest<'_>, buffer: u32, size_at: u32, unused_at: u32) -> Result<(), Status> {
    let vm = &mut *guest.vm;
    let size = with(&mut vm.contexts, &vm.core, buffer, |buffer| buffer.size())?;
    let size = u32::try_from(size).map_err(|_| Status::InternalFailure)?;
    write_u32(guest.memory, size_at, size)?;
    write_u32(guest.memory, unused_at, 0)
}

/// Puts a value in the place of at most `size` bytes from `start` on. BAD_ARGUMENT when the buffer cannot be
/// changed.
fn set(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    size: u32,
    value_at: u32,
    value_size: u32,
) -> Result<(), Status> {
    let vm = &mut *guest.vm;
    with(&mut vm.contexts, &vm.core, buffer, |buffer| {
        let value = read(guest.memory, value_at, value_size)?;
        let range = range(buffer, start, size)?;
        buffer.splice(range, value)
    })
}
