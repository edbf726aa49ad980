//! `proxy_get_current_time_nanoseconds`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::{Guest, write_u64};

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_get_current_time_nanoseconds", now)
}

fn now(guest: &mut Guest<'_>, time_at: u32) -> Result<(), Status> {
    write_u64(guest.memory, time_at, realtime())
}

/// Nanoseconds since 1970.
pub(super) fn realtime() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
