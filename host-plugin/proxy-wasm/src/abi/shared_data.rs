//! `proxy_set_shared_data`, `proxy_get_shared_data`: data that all virtual machines with the filter's `vm_id` have in
//! common.

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::{Guest, Place, read, write_u32};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_set_shared_data", set)?;
    table.env_placing("proxy_get_shared_data", get)
}

/// CAS_MISMATCH when `cas` is not 0 and not the number of the value that is there; BAD_ARGUMENT above
/// `limits.shared_data`.
fn set(
    guest: &mut Guest<'_>,
    key_at: u32,
    key_size: u32,
    value_at: u32,
    value_size: u32,
    cas: u32,
) -> Result<(), Status> {
    let key = read(guest.memory, key_at, key_size)?;
    let value = read(guest.memory, value_at, value_size)?;
    let core = &guest.vm.core;
    let limit = core.limits.shared_data;
    // Nothing is copied that could not be kept.
    if (key.len() as u64).saturating_add(value.len() as u64) > limit {
        return Err(core.shared_refused("shared_data", limit));
    }
    let set = core.shared_data.set(key, value.into(), cas, limit);
    set.map_err(|status| match status {
        Status::BadArgument => core.shared_refused("shared_data", limit),
        status => status,
    })
}

/// NOT_FOUND when there is no such key.
fn get(
    guest: &mut Guest<'_>,
    key_at: u32,
    key_size: u32,
    pointer_at: u32,
    size_at: u32,
    cas_at: u32,
) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let key = read(guest.memory, key_at, key_size)?;
    let value = guest.vm.core.shared_data.get(key).ok_or(Status::NotFound)?;
    write_u32(guest.memory, cas_at, value.cas)?;
    guest.vm.scratch.clear();
    guest.vm.scratch.extend_from_slice(&value.bytes);
    Ok(place)
}
