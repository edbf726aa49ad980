//! `proxy_set_tick_period_milliseconds`.

use std::time::{Duration, Instant};

use super::table::Table;
use crate::embedder::Status;
use crate::vm::guest::Guest;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_set_tick_period_milliseconds", set_tick_period)
}

/// 0 ends the ticks.
fn set_tick_period(guest: &mut Guest<'_>, milliseconds: u32) -> Result<(), Status> {
    let period = (milliseconds > 0).then(|| Duration::from_millis(u64::from(milliseconds)));
    guest.vm.mailbox.set_period(period, Instant::now());
    Ok(())
}
