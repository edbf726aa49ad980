//! `proxy_done`, `proxy_set_effective_context`.

use wasmdbg_control::ContextId;

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::Guest;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_done", done)?;
    table.env("proxy_set_effective_context", set_effective_context)
}

/// A context whose `proxy_on_done` returned false is done now. NOT_FOUND when it is not waiting for that.
fn done(guest: &mut Guest<'_>) -> Result<(), Status> {
    guest.vm.contexts.done()
}

/// Host functions act for `context` until the callback ends. BAD_ARGUMENT when there is no such context.
fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Result<(), Status> {
    // A line begun by one context is not finished by another.
    if guest.vm.output.is_pending() {
        guest.vm.flush_output();
    }
    guest.vm.contexts.set_effective(ContextId(context))
}
