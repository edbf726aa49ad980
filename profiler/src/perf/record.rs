//! The records in a ring, as the kernel writes them for the sample type that this crate asks for.
//! Bytes in, borrowed values out; never fails on anything but a record that is too short.

use super::attributes::{CALLCHAIN, REGISTERS};

/// The record is shorter than its type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of type {kind} is cut short")]
pub struct Truncated {
    /// PERF_RECORD_*.
    pub kind: u32,
}

/// Where the processor was when a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the kernel.
    Kernel,
    /// In the program.
    User,
    /// In a hypervisor or a guest.
    Other,
}

/// A record of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// PERF_RECORD_SAMPLE
    Sample(Sample<'a>),
    /// PERF_RECORD_LOST: that many records did not fit.
    Lost(u64),
    /// PERF_RECORD_THROTTLE: the kernel slowed sampling down.
    Throttle,
    /// PERF_RECORD_MMAP of executable memory: the address space has changed.
    Map {
        /// The process.
        pid: u32,
        /// First address.
        start: u64,
        /// Bytes.
        length: u64,
    },
    /// PERF_RECORD_COMM: a thread has another name.
    Name {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// Its name.
        name: &'a [u8],
    },
    /// PERF_RECORD_FORK: a new thread (or process).
    Fork {
        /// The new thread's process.
        pid: u32,
        /// The new thread.
        tid: u32,
    },
    /// PERF_RECORD_EXIT
    Exit {
        /// The thread that ended.
        tid: u32,
    },
    /// Any other.
    Other(u32),
}

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// In which mode `ip` is.
    pub mode: Mode,
    /// The instruction.
    pub ip: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// CLOCK_MONOTONIC, ns.
    pub time: u64,
    /// The weight: events (or ns, for a clock) since the last sample.
    pub period: u64,
    /// Kernel frames, innermost first, with PERF_CONTEXT_* marks among them; u64, little-endian.
    pub callchain: &'a [u8],
    /// Registers of the program; none when the thread has none (a kernel thread).
    pub registers: Option<RegisterSet<'a>>,
    /// The top of the program's stack.
    pub stack: &'a [u8],
}

/// Registers in the order of their bits in [`REGISTERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterSet<'a>(&'a [u8]);

impl RegisterSet<'_> {
    /// Value of the register with bit `bit` of PERF_REG_X86_*.
    #[must_use]
    pub fn get(&self, bit: u32) -> u64 {
        let index = (REGISTERS & ((1 << bit) - 1)).count_ones() as usize;
        self.0
            .chunks_exact(8)
            .nth(index)
            .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }
}

impl Sample<'_> {
    /// Kernel frames, innermost first.
    pub fn kernel_frames(&self) -> impl Iterator<Item = u64> + '_ {
        // Marks are the last 4095 addresses.
        self.callchain
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .filter(|address| *address < u64::MAX - 4095)
    }
}

const PERF_RECORD_MMAP: u32 = 1;
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_COMM: u32 = 3;
const PERF_RECORD_EXIT: u32 = 4;
const PERF_RECORD_THROTTLE: u32 = 5;
const PERF_RECORD_FORK: u32 = 7;
const PERF_RECORD_SAMPLE: u32 = 9;

/// Reads a record, header included. `sample_type`: what the event was opened with.
///
/// # Errors
/// When it is too short.
pub fn parse(record: &[u8], sample_type: u64) -> Result<Record<'_>, Truncated> {
    let mut reader = Reader(record);
    let short = |kind| Truncated { kind };
    let kind = reader.u32().ok_or(short(0))?;
    let misc = reader.u32().ok_or(short(kind))? as u16;
    let found = match kind {
        PERF_RECORD_SAMPLE => sample(&mut reader, misc, sample_type).map(Record::Sample),
        PERF_RECORD_LOST => reader.skip(8).and_then(|()| reader.u64()).map(Record::Lost),
        PERF_RECORD_THROTTLE => Some(Record::Throttle),
        PERF_RECORD_MMAP => map(&mut reader),
        PERF_RECORD_COMM => name(&mut reader),
        PERF_RECORD_FORK => fork(&mut reader),
        PERF_RECORD_EXIT => fork(&mut reader).map(|record| match record {
            Record::Fork { tid, .. } => Record::Exit { tid },
            other => other,
        }),
        other => Some(Record::Other(other)),
    };
    found.ok_or(short(kind))
}

/// The order is that of the man page: IP, TID, TIME, PERIOD, CALLCHAIN, REGS_USER, STACK_USER.
fn sample<'a>(reader: &mut Reader<'a>, misc: u16, sample_type: u64) -> Option<Sample<'a>> {
    let mode = match misc & 7 {
        1 => Mode::Kernel,
        2 => Mode::User,
        _ => Mode::Other,
    };
    let ip = reader.u64()?;
    let (pid, tid) = (reader.u32()?, reader.u32()?);
    let time = reader.u64()?;
    let period = reader.u64()?;
    let callchain = if sample_type & CALLCHAIN == 0 {
        &[][..]
    } else {
        let count = usize::try_from(reader.u64()?).ok()?;
        reader.take(count.checked_mul(8)?)?
    };
    // PERF_SAMPLE_REGS_ABI_NONE has no registers behind it.
    let registers = match reader.u64()? {
        0 => None,
        _ => Some(RegisterSet(reader.take(REGISTERS.count_ones() as usize * 8)?)),
    };
    let size = usize::try_from(reader.u64()?).ok()?;
    let mut stack = reader.take(size)?;
    if size > 0 {
        let used = usize::try_from(reader.u64()?).ok()?;
        stack = stack.get(..used)?;
    }
    Some(Sample { mode, ip, pid, tid, time, period, callchain, registers, stack })
}

fn map<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let pid = reader.u32()?;
    reader.skip(4)?;
    Some(Record::Map { pid, start: reader.u64()?, length: reader.u64()? })
}

fn name<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let pid = reader.u32()?;
    let tid = reader.u32()?;
    let end = reader.0.iter().position(|byte| *byte == 0)?;
    Some(Record::Name { pid, tid, name: reader.take(end)? })
}

fn fork<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let pid = reader.u32()?;
    reader.skip(4)?;
    Some(Record::Fork { pid, tid: reader.u32()? })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: u32, misc: u16, words: &[u64]) -> Vec<u8> {
        let size = 8 + words.len() * 8;
        let mut out = kind.to_le_bytes().to_vec();
        out.extend(misc.to_le_bytes());
        out.extend((size as u16).to_le_bytes());
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        out
    }

    #[test]
    fn a_sample_is_read_in_the_kernels_order() {
        let mut body = vec![0x1000, 7 << 32 | 5, 99, 10_101_010, 2, u64::MAX - 127, 0xffff_8000, 2];
        let count = u64::from(REGISTERS.count_ones());
        body.extend(100..100 + count);
        body.extend([16, 0x11, 0x22, 8]);
        let record = words(PERF_RECORD_SAMPLE, 2, &body);
        let Ok(Record::Sample(sample)) = parse(&record, CALLCHAIN) else { panic!("no sample") };
        assert_eq!((sample.mode, sample.ip, sample.pid, sample.tid), (Mode::User, 0x1000, 5, 7));
        assert_eq!((sample.time, sample.period), (99, 10_101_010));
        assert_eq!(sample.kernel_frames().collect::<Vec<_>>(), [0xffff_8000], "the mark is no frame");
        assert_eq!(sample.registers.map(|set| (set.get(0), set.get(8), set.get(16))), Some((100, 108, 109)));
        assert_eq!(sample.stack, 0x11u64.to_le_bytes(), "only what the kernel could copy");
    }

    #[test]
    fn every_cut_is_an_error_and_nothing_panics() {
        let mut body = vec![0x1000, 7 << 32 | 5, 99, 1, 0, 2];
        body.extend(vec![0; REGISTERS.count_ones() as usize]);
        body.extend([8, 0x11, 8]);
        let whole = words(PERF_RECORD_SAMPLE, 2, &body);
        assert!(parse(&whole, CALLCHAIN).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end], CALLCHAIN).is_err(), "{end} bytes");
        }
        assert_eq!(parse(&words(PERF_RECORD_LOST, 0, &[3, 12]), 0), Ok(Record::Lost(12)));
    }
}
