//! What a callback may use: CPU time and linear memory. Only counts; who acts on it is elsewhere.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use crate::trap::Stop;

/// Table elements of one virtual machine; the largest real modules have some thousands.
const TABLE_ELEMENTS: usize = 1 << 20;

/// The CPU time of one entry into the guest.
///
/// The clock is read at the first epoch after the entry, never at the entry itself (reading it is a
/// system call): an entry may run up to one epoch longer than its budget, and a thread that is kept
/// from running is not accused.
#[derive(Debug)]
pub(crate) struct CpuBudget {
    budget: Duration,
    started: Option<Duration>,
}

impl CpuBudget {
    pub(crate) fn new() -> Self {
        Self { budget: Duration::MAX, started: None }
    }

    pub(crate) fn start(&mut self, budget: Duration) {
        self.budget = budget;
        self.started = None;
    }

    /// Called once an epoch while the guest runs.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        let now = thread_cpu();
        let started = *self.started.get_or_insert(now);
        if now.saturating_sub(started) > self.budget {
            return Err(Stop::Cpu(self.budget));
        }
        Ok(())
    }
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Refuses memory above the limit; the guest sees a failed `memory.grow`.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit: u64,
    refused: bool,
}

impl MemoryLimit {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, refused: false }
    }

    /// The limit, once it has refused something.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired as u64 <= self.limit;
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
