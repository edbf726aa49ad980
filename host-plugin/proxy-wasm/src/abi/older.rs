//! What 0.1.0 has and later versions do not. SDKs for those still import some of it, with a result or without.

use super::streams::resume;
use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::{Guest, Place};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_get_configuration", configuration)?;
    table.env_either("proxy_continue_request", |guest| resume(guest, 0));
    table.env_either("proxy_continue_response", |guest| resume(guest, 1));
    table.env_either("proxy_clear_route_cache", |_| Ok(()));
    Ok(())
}

/// In `proxy_on_vm_start` that of the virtual machine, then that of the filter.
fn configuration(guest: &mut Guest<'_>, pointer_at: u32, size_at: u32) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let vm = &mut *guest.vm;
    let config = &vm.core.config;
    let text = if vm.starts { &config.vm_configuration } else { &config.configuration };
    vm.scratch.clear();
    vm.scratch.extend_from_slice(text.as_bytes());
    Ok(place)
}
