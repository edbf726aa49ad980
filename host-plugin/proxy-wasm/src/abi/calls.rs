//! What a filter asks about the calls that it has made to other services: `proxy_get_status`.

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::{Guest, Place, write_u32};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_get_status", get_status)
}

/// Status code and message of the last reply. Before there was one: 0 and an empty text, as in the reference
/// host. No filter has had one: this host makes no calls yet.
fn get_status(guest: &mut Guest<'_>, code_at: u32, pointer_at: u32, size_at: u32) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    write_u32(guest.memory, code_at, 0)?;
    guest.vm.scratch.clear();
    Ok(place)
}
