//! What to count and what a sample holds. Owns the numbers of `perf_event_open(2)`; opens nothing.

use std::fmt;
use std::str::FromStr;

use super::sys::Attributes;

/// What makes a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// CPU time by the kernel's high-resolution timer: there on every machine, and the cheapest in a
    /// virtual one.
    CpuClock,
    /// Processor cycles.
    Cycles,
    /// Instructions.
    Instructions,
    /// Misses of the last cache.
    CacheMisses,
    /// Wrongly predicted branches.
    BranchMisses,
    /// Page faults.
    PageFaults,
    /// Context switches.
    ContextSwitches,
}

const EVENTS: [(Event, &str, u32, u64); 7] = [
    (Event::CpuClock, "cpu-clock", 1, 0),
    (Event::Cycles, "cycles", 0, 0),
    (Event::Instructions, "instructions", 0, 1),
    (Event::CacheMisses, "cache-misses", 0, 3),
    (Event::BranchMisses, "branch-misses", 0, 5),
    (Event::PageFaults, "page-faults", 1, 2),
    (Event::ContextSwitches, "context-switches", 1, 3),
];

impl Event {
    /// Whether the processor must have a counter for it.
    #[must_use]
    pub fn is_hardware(self) -> bool {
        self.numbers().0 == 0
    }

    /// The unit of a sample's weight.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::CpuClock => "ns",
            Self::Cycles => "cycles",
            Self::Instructions => "instructions",
            Self::CacheMisses | Self::BranchMisses => "misses",
            Self::PageFaults => "faults",
            Self::ContextSwitches => "switches",
        }
    }

    /// By `type` and `config` of `struct perf_event_attr`.
    pub(crate) fn of_numbers(kind: u32, config: u64) -> Option<Self> {
        // The upper half says of which kind of core.
        let config = if kind == 0 { config & 0xffff_ffff } else { config };
        EVENTS.iter().find(|row| (row.2, row.3) == (kind, config)).map(|row| row.0)
    }

    fn numbers(self) -> (u32, u64) {
        EVENTS.iter().find(|row| row.0 == self).map_or((1, 0), |row| (row.2, row.3))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EVENTS.iter().find(|row| row.0 == *self).map_or("unknown", |row| row.1))
    }
}

/// No such event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no event {0:?}: use cpu-clock, cycles, instructions, cache-misses, branch-misses, page-faults or context-switches"
)]
pub struct UnknownEvent(String);

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(name: &str) -> Result<Self, UnknownEvent> {
        EVENTS.iter().find(|row| row.1 == name).map(|row| row.0).ok_or_else(|| UnknownEvent(name.to_owned()))
    }
}

/// PERF_REG_X86_*: AX to SP, IP, and R8 to R15.
pub const REGISTERS: u64 = 0x1ff | 0xff << 16;

pub(crate) const CALLCHAIN: u64 = 1 << 5;

/// PERF_SAMPLE_IP, TID, TIME, PERIOD, REGS_USER, STACK_USER.
const SAMPLE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 12 | 1 << 13;

/// Bits of `perf_event_attr`'s flags.
mod flag {
    pub(super) const DISABLED: u64 = 1;
    pub(super) const EXCLUDE_KERNEL: u64 = 1 << 5;
    pub(super) const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
    pub(super) const EXCLUDE_IDLE: u64 = 1 << 7;
    pub(super) const MMAP: u64 = 1 << 8;
    pub(super) const COMM: u64 = 1 << 9;
    pub(super) const FREQ: u64 = 1 << 10;
    pub(super) const TASK: u64 = 1 << 13;
    /// Every record has the sample's thread and time at its end.
    pub(super) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(super) const EXCLUDE_CALLCHAIN_USER: u64 = 1 << 22;
    pub(super) const USE_CLOCK: u64 = 1 << 25;
}

/// The attributes of an event that samples `frequency` times a second of its own count.
pub(crate) fn attributes(event: Event, frequency: u64, stack: u32, kernel: bool) -> Attributes {
    let (kind, config) = event.numbers();
    let mut flags = flag::DISABLED
        | flag::EXCLUDE_HYPERVISOR
        | flag::MMAP
        | flag::COMM
        | flag::FREQ
        | flag::TASK
        | flag::SAMPLE_ID_ALL
        | flag::USE_CLOCK;
    let mut sample_type = SAMPLE;
    if kernel {
        flags |= flag::EXCLUDE_CALLCHAIN_USER;
        sample_type |= CALLCHAIN;
    } else {
        flags |= flag::EXCLUDE_KERNEL;
    }
    Attributes {
        kind,
        size: size_of::<Attributes>() as u32,
        config,
        sample_period_or_freq: frequency,
        sample_type,
        flags,
        sample_regs_user: REGISTERS,
        sample_stack_user: stack,
        clock: libc::CLOCK_MONOTONIC,
        ..Attributes::default()
    }
}

/// The attributes of an event of a whole processor: without its idle time, and without records of threads
/// that begin and end, of which there is nothing to follow.
pub(crate) fn of_processor(attributes: Attributes) -> Attributes {
    Attributes { flags: (attributes.flags | flag::EXCLUDE_IDLE) & !flag::TASK, ..attributes }
}
