//! WASI preview 1 without files: arguments, environment, clocks, randomness, the end of the process.
//! Nothing sleeps: this runs on event threads.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::errno::Errno;
use super::table::{Failure, Table};
use super::time::realtime;
use crate::vm::guest::{Guest, read, write, write_u32, write_u64};
use crate::vm::trap::Stop;

pub(super) fn define(table: &mut Table) -> wasmtime::Result<()> {
    table.wasi("args_sizes_get", args_sizes_get)?;
    table.wasi("args_get", args_get)?;
    table.wasi("environ_sizes_get", environ_sizes_get)?;
    table.wasi("environ_get", environ_get)?;
    table.wasi("clock_time_get", clock_time_get)?;
    table.wasi("clock_res_get", clock_res_get)?;
    table.wasi("random_get", random_get)?;
    table.wasi("sched_yield", sched_yield)?;
    table.wasi("poll_oneoff", poll_oneoff)?;
    table.wasi("proc_raise", proc_raise)?;
    // Ends this virtual machine only; the reference plugin would end the proxy.
    table.wasi_ending("proc_exit", Stop::Exit)
}

fn args_sizes_get(guest: &mut Guest<'_>, count_at: u32, size_at: u32) -> Result<(), Errno> {
    write_u32(guest.memory, count_at, 0)?;
    Ok(write_u32(guest.memory, size_at, 0)?)
}

fn args_get(_: &mut Guest<'_>, _arguments_at: u32, _buffer_at: u32) -> Result<(), Errno> {
    Ok(())
}

/// `NAME=value` and a NUL for each variable of the filter's configuration.
fn environ_sizes_get(guest: &mut Guest<'_>, count_at: u32, size_at: u32) -> Result<(), Errno> {
    let environment = &guest.vm.core.config.environment;
    let size: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let count = u32::try_from(environment.len()).map_err(|_| Errno::Inval)?;
    let size = u32::try_from(size).map_err(|_| Errno::Inval)?;
    write_u32(guest.memory, count_at, count)?;
    Ok(write_u32(guest.memory, size_at, size)?)
}

fn environ_get(guest: &mut Guest<'_>, pointers_at: u32, buffer_at: u32) -> Result<(), Errno> {
    let (mut pointer_at, mut at) = (pointers_at, buffer_at);
    for (name, value) in &guest.vm.core.config.environment {
        let size = u32::try_from(name.len() + value.len() + 2).map_err(|_| Errno::Inval)?;
        let (left, right) = write(guest.memory, at, size)?.split_at_mut(name.len());
        left.copy_from_slice(name.as_bytes());
        let (equals, right) = right.split_at_mut(1);
        equals.copy_from_slice(b"=");
        let (text, nul) = right.split_at_mut(value.len());
        text.copy_from_slice(value.as_bytes());
        nul.copy_from_slice(b"\0");
        write_u32(guest.memory, pointer_at, at)?;
        pointer_at = pointer_at.checked_add(4).ok_or(Errno::Fault)?;
        at = at.checked_add(size).ok_or(Errno::Fault)?;
    }
    Ok(())
}

/// 0 realtime, 1 monotonic, 2 CPU time of the process, 3 CPU time of the thread.
fn clock_time_get(guest: &mut Guest<'_>, clock: u32, _precision: u64, time_at: u32) -> Result<(), Errno> {
    let of = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let time = match clock {
        0 => realtime(),
        1 => nanoseconds(of(ClockId::CLOCK_MONOTONIC)),
        2 => nanoseconds(of(ClockId::CLOCK_PROCESS_CPUTIME_ID)),
        3 => nanoseconds(of(ClockId::CLOCK_THREAD_CPUTIME_ID)),
        _ => return Err(Errno::Notsup),
    };
    Ok(write_u64(guest.memory, time_at, time)?)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn clock_res_get(guest: &mut Guest<'_>, clock: u32, resolution_at: u32) -> Result<(), Errno> {
    if clock > 3 {
        return Err(Errno::Notsup);
    }
    Ok(write_u64(guest.memory, resolution_at, 1)?)
}

/// Bytes that the system is asked for at once.
const RANDOM_CHUNK: usize = 16 << 10;

fn random_get(guest: &mut Guest<'_>, at: u32, size: u32) -> Result<(), Failure<Errno>> {
    for chunk in write(guest.memory, at, size)?.chunks_mut(RANDOM_CHUNK) {
        // A few nanoseconds a byte.
        guest.vm.budget.work(4 * chunk.len())?;
        getrandom::fill(chunk).map_err(|_| Errno::Nosys)?;
    }
    Ok(())
}

fn sched_yield(_: &mut Guest<'_>) -> Result<(), Errno> {
    Ok(())
}

fn proc_raise(_: &mut Guest<'_>, _signal: u32) -> Result<(), Errno> {
    Err(Errno::Nosys)
}

/// Sizes of `subscription` and `event` of preview 1.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// Every clock has rung at once, as if the time had passed: an event thread never sleeps for a guest.
/// Subscriptions to files fail.
fn poll_oneoff(
    guest: &mut Guest<'_>,
    subscriptions_at: u32,
    events_at: u32,
    count: u32,
    events_count_at: u32,
) -> Result<(), Failure<Errno>> {
    if count == 0 {
        return Err(Errno::Inval.into());
    }
    for index in 0..count {
        guest.vm.budget.work(EVENT as usize)?;
        let offset = |size: u32, base: u32| index.checked_mul(size).and_then(|at| base.checked_add(at));
        let from = offset(SUBSCRIPTION, subscriptions_at).ok_or(Errno::Fault)?;
        let to = offset(EVENT, events_at).ok_or(Errno::Fault)?;
        let subscription: [u8; 9] = read(guest.memory, from, 9)?.try_into().map_err(|_| Errno::Fault)?;
        let (user_data, tag) = subscription.split_at(8);
        let event = write(guest.memory, to, EVENT)?;
        event.fill(0);
        event[..8].copy_from_slice(user_data);
        event[8] = if tag == [0] { 0 } else { Errno::Nosys as u8 };
        event[10] = tag[0];
    }
    Ok(write_u32(guest.memory, events_count_at, count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_of_centuries_saturates() {
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }
}
