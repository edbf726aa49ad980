//! `proxy_call_foreign_function`: functions of the host's registry, by name.

use super::table::Table;
use crate::embedder::{Level, Status};
use crate::vm::guest::{Guest, Place, read};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env_placing("proxy_call_foreign_function", call)
}

/// NOT_FOUND when the host has no function of that name: SDKs take that for what it is, and panic at everything
/// else. Otherwise what the function answers.
fn call(
    guest: &mut Guest<'_>,
    name_at: u32,
    name_size: u32,
    arguments_at: u32,
    arguments_size: u32,
    pointer_at: u32,
    size_at: u32,
) -> Result<Place, Status> {
    let place = Place::new(guest.memory, pointer_at, size_at)?;
    let name = read(guest.memory, name_at, name_size)?;
    let arguments = read(guest.memory, arguments_at, arguments_size)?;
    let vm = &mut *guest.vm;
    let Some(function) = vm.core.runtime.foreign.find(name) else {
        // Not its name: a guest can make up any number of them.
        let text = "the filter calls a foreign function that this host does not have, and gets NOT_FOUND";
        vm.core.log_once(Level::Warn, text);
        return Err(Status::NotFound);
    };
    vm.scratch.clear();
    function(arguments, &mut vm.scratch)?;
    Ok(place)
}
