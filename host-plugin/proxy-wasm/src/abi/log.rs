//! `proxy_log`, `proxy_get_log_level`.

use super::table::Table;
use crate::embedder::{Level, Status};
use crate::vm::guest::{Guest, read, write_u32};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_log", log)?;
    table.env("proxy_get_log_level", get_log_level)
}

/// BAD_ARGUMENT for an unknown level.
fn log(guest: &mut Guest<'_>, level: u32, at: u32, size: u32) -> Result<(), Status> {
    let level = match level {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        4 => Level::Error,
        5 => Level::Critical,
        _ => return Err(Status::BadArgument),
    };
    let message = read(guest.memory, at, size)?;
    guest.vm.log(level, message);
    Ok(())
}

fn get_log_level(guest: &mut Guest<'_>, level_at: u32) -> Result<(), Status> {
    let level = guest.vm.core.runtime.embedder.log_level();
    write_u32(guest.memory, level_at, level as u32)
}
