//! `proxy_define_metric`, `proxy_record_metric`, `proxy_increment_metric`, `proxy_get_metric`.

use super::table::Table;
use crate::embedder::Status;
use crate::shared::metrics::{Metric, MetricKind};
use crate::vm::guest::{Guest, read, read_u32, write_u32, write_u64};
use crate::vm::state::VmState;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.env("proxy_define_metric", define_metric)?;
    table.env("proxy_record_metric", record)?;
    table.env("proxy_increment_metric", increment)?;
    table.env("proxy_get_metric", get)
}

/// The number of a metric, the same for all who define that name and type. BAD_ARGUMENT for another type, a name
/// above 1 KiB, or when the filter has 10,000.
fn define_metric(
    guest: &mut Guest<'_>,
    kind: u32,
    name_at: u32,
    name_size: u32,
    number_at: u32,
) -> Result<(), Status> {
    read_u32(guest.memory, number_at)?;
    let kind = MetricKind::of_number(kind).ok_or(Status::BadArgument)?;
    let name = read(guest.memory, name_at, name_size)?;
    let place = guest.vm.core.define_metric(kind, name)?;
    write_u32(guest.memory, number_at, place)
}

/// NOT_FOUND for a number that no metric has.
fn record(guest: &mut Guest<'_>, number: u32, value: u64) -> Result<(), Status> {
    metric(guest.vm, number)?.record(value);
    Ok(())
}

/// NOT_FOUND; BAD_ARGUMENT for a histogram, and for a counter that would shrink.
fn increment(guest: &mut Guest<'_>, number: u32, delta: i64) -> Result<(), Status> {
    metric(guest.vm, number)?.increment(delta)
}

/// NOT_FOUND; BAD_ARGUMENT for a histogram.
fn get(guest: &mut Guest<'_>, number: u32, value_at: u32) -> Result<(), Status> {
    let value = metric(guest.vm, number)?.get()?;
    write_u64(guest.memory, value_at, value)
}

/// Without a lock, but for metrics that others have defined since this virtual machine looked.
fn metric(vm: &mut VmState, number: u32) -> Result<&Metric, Status> {
    let place = number as usize;
    if place >= vm.metrics.len() {
        vm.metrics.extend(vm.core.metrics.from(vm.metrics.len()));
    }
    vm.metrics.get(place).map(AsRef::as_ref).ok_or(Status::NotFound)
}
