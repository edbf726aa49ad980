//! What a guest may use: CPU time of a callback, memory of a virtual machine. Only counts; who acts on it
//! is elsewhere.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use crate::vm::trap::Stop;

/// Host functions look at the clock after so many steps, of about a nanosecond each.
const STEPS: u64 = 64 << 10;

/// What wasmtime keeps for an element of a table.
const TABLE_ELEMENT: u64 = 8;

/// The CPU time of one entry into the guest.
///
/// The clock is read at the first epoch after the entry or in its first large host call, never at the entry
/// itself (reading it is a system call): an entry may run up to one epoch longer than its budget, and a
/// thread that is kept from running is not accused.
pub(crate) struct CpuBudget {
    budget: Duration,
    started: Option<Duration>,
    work: HostWork,
    /// Instead of `budget` on the debug lane, where what is debugged has more time.
    pub(crate) debug: Option<BudgetCheck>,
}

/// Says whether the guest of a debug lane may go on.
pub(crate) type BudgetCheck = Box<dyn Fn() -> Result<(), Stop> + Send>;

/// What host functions have done in one entry since they last looked at the clock.
#[derive(Debug, Default)]
struct HostWork(u64);

impl HostWork {
    /// Whether it is time to look.
    fn add(&mut self, steps: u64) -> bool {
        self.0 = self.0.saturating_add(steps);
        let due = self.0 >= STEPS;
        if due {
            self.0 = 0;
        }
        due
    }
}

impl CpuBudget {
    pub(crate) fn new() -> Self {
        Self { budget: Duration::MAX, started: None, work: HostWork::default(), debug: None }
    }

    /// Before an entry.
    pub(crate) fn start(&mut self, budget: Duration) {
        self.budget = budget;
        self.started = None;
        self.work = HostWork::default();
    }

    /// Called by host functions before they do what can be long: about so many nanoseconds.
    ///
    /// # Errors
    /// The callback has used up its CPU time.
    pub(crate) fn work(&mut self, steps: usize) -> Result<(), Stop> {
        if !self.work.add(steps as u64) {
            return Ok(());
        }
        match &self.debug {
            Some(check) => check(),
            None => self.check(),
        }
    }

    /// Called once an epoch while the guest runs, and by long host functions.
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

/// Adds up the memories and tables of a virtual machine, from their first sizes on, and refuses what would
/// go above the limit; the guest sees a failed `memory.grow` or `table.grow`.
///
/// Nothing is taken off the sum again: memories and tables only grow, and what fails after it was granted
/// (the system had no memory left) cannot be told from a growth that was never asked for here.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit: u64,
    granted: u64,
    refused: bool,
}

impl MemoryLimit {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, granted: 0, refused: false }
    }

    /// The limit, once it has refused something.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused.then_some(self.limit)
    }

    /// Bytes of all memories and tables.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Sizes in units of `unit` bytes.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: u64) -> bool {
        // Above what the module declares: fails in any case, and must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let more = (desired.saturating_sub(current) as u64).saturating_mul(unit);
        let sum = self.granted.saturating_add(more);
        if sum > self.limit {
            self.refused = true;
            return false;
        }
        self.granted = sum;
        true
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, 1))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, TABLE_ELEMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    #[test]
    fn memories_and_tables_are_one_sum() {
        let mut limit = MemoryLimit::new(4 * PAGE as u64);
        assert!(limit.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limit.table_growing(0, PAGE / 8, None).unwrap());
        assert_eq!((limit.granted(), limit.refused()), (3 * PAGE as u64, None));
        assert!(!limit.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!limit.table_growing(PAGE / 8, PAGE / 2, None).unwrap());
        assert_eq!(limit.refused(), Some(4 * PAGE as u64));
        assert!(limit.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap(), "what is left can be had");
    }

    #[test]
    fn only_what_is_granted_counts_and_nothing_is_given_back() {
        let mut limit = MemoryLimit::new(2 * PAGE as u64);
        assert!(limit.memory_growing(0, PAGE, Some(PAGE)).unwrap());
        for _ in 0..3 {
            assert!(!limit.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        }
        assert_eq!(limit.refused(), None, "the module's own limit is not ours");
        // Guests can make a growth fail that has never been granted.
        limit.table_grow_failed(wasmtime::Error::msg("overflow")).unwrap();
        limit.memory_grow_failed(wasmtime::Error::msg("too large")).unwrap();
        assert_eq!(limit.granted(), PAGE as u64);
        assert!(!limit.memory_growing(0, usize::MAX, None).unwrap());
        assert!(!limit.table_growing(0, usize::MAX, None).unwrap());
    }
}
