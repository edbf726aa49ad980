//! `proxy_register_shared_queue`, `proxy_resolve_shared_queue`, `proxy_enqueue_shared_queue`,
//! `proxy_dequeue_shared_queue`.

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::{Guest, Place, read, read_u32, write_u32};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_register_shared_queue", register)?;
    table.env("proxy_resolve_shared_queue", resolve)?;
    table.env("proxy_enqueue_shared_queue", enqueue)?;
    table.env_placing("proxy_dequeue_shared_queue", dequeue)
}

/// The number of a queue of the filter's `vm_id`, which is made if there is none. From now on this virtual machine is
/// one of those that hear of its messages. BAD_ARGUMENT when there are 1,024, or its name is longer than 4 KiB.
fn register(guest: &mut Guest<'_>, name_at: u32, name_size: u32, number_at: u32) -> Result<(), Status> {
    read_u32(guest.memory, number_at)?;
    let name = read(guest.memory, name_at, name_size)?;
    let core = &guest.vm.core;
    let number = core.runtime.shared.queues.register(&core.config.vm_id, name, &guest.vm.postbox)?;
    guest.vm.listens = true;
    write_u32(guest.memory, number_at, number)
}

/// The number of a queue of any `vm_id`; none is the filter's own, as in the reference host. NOT_FOUND.
fn resolve(
    guest: &mut Guest<'_>,
    vm_id_at: u32,
    vm_id_size: u32,
    name_at: u32,
    name_size: u32,
    number_at: u32,
) -> Result<(), Status> {
    let vm_id = read(guest.memory, vm_id_at, vm_id_size)?;
    let name = read(guest.memory, name_at, name_size)?;
    let core = &guest.vm.core;
    let vm_id = match vm_id {
        b"" => core.config.vm_id.as_str(),
        // Those of filters are text.
        vm_id => std::str::from_utf8(vm_id).map_err(|_| Status::NotFound)?,
    };
    let number = core.runtime.shared.queues.resolve(vm_id, name)?;
    write_u32(guest.memory, number_at, number)
}

/// NOT_FOUND; BAD_ARGUMENT above `limits.queue`.
fn enqueue(guest: &mut Guest<'_>, number: u32, message_at: u32, message_size: u32) -> Result<(), Status> {
    let message = read(guest.memory, message_at, message_size)?;
    let core = &guest.vm.core;
    let limit = core.limits.queue;
    // Nothing is copied that could not be kept.
    if message.len() as u64 > limit {
        return Err(core.shared_refused("queue", limit));
    }
    let enqueued = core.runtime.shared.queues.enqueue(number, message.into(), limit);
    enqueued.map_err(|status| match status {
        Status::BadArgument => core.shared_refused("queue", limit),
        status => status,
    })
}

/// NOT_FOUND; EMPTY when no message is there (any more).
fn dequeue(guest: &mut Guest<'_>, number: u32, pointer_at: u32, size_at: u32) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let message = guest.vm.core.runtime.shared.queues.dequeue(number)?;
    guest.vm.scratch.clear();
    guest.vm.scratch.extend_from_slice(&message);
    Ok(place)
}
