//! The body of a PERF_RECORD_SAMPLE of a perf.data, up to its call chain, in place: there are very many of them. The
//! order is that of `perf_event_open(2)`.

use linux_perf_data::linux_perf_event_reader::{ReadFormat, RecordParseInfo, SampleFormat};

/// The first of PERF_CONTEXT_*, marks among the addresses of a chain: what follows is the kernel's, or not.
const FIRST_MARK: u64 = u64::MAX - 4094;
/// PERF_CONTEXT_KERNEL
const KERNEL_MARK: u64 = u64::MAX - 127;

/// What is used of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    pub(super) ip: Option<u64>,
    /// The event's.
    pub(super) id: Option<u64>,
    pub(super) pid: i32,
    pub(super) tid: u32,
    /// By the recording's clock, ns.
    pub(super) time: u64,
    pub(super) period: u64,
    chain: &'a [u8],
}

/// An entry of a call chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// An address.
    Address(u64),
    /// What follows is code of the kernel, or not.
    Mark { kernel: bool },
}

impl Entry {
    /// As the kernel writes it.
    pub(super) fn of(word: u64) -> Self {
        if word >= FIRST_MARK {
            return Self::Mark { kernel: word == KERNEL_MARK };
        }
        Self::Address(word)
    }
}

impl<'a> Sample<'a> {
    /// Reads a record's body, little-endian as the whole file. `lost`: PERF_FORMAT_LOST is set, which the
    /// library does not know. `None`: it is too short.
    pub(super) fn parse(body: &'a [u8], info: &RecordParseInfo, lost: bool) -> Option<Self> {
        let format = info.sample_format;
        let mut words = Words(body);
        let mut word = |field| if format.contains(field) { words.next().map(Some) } else { Some(None) };
        let identifier = word(SampleFormat::IDENTIFIER)?;
        let ip = word(SampleFormat::IP)?;
        let ids = word(SampleFormat::TID)?.unwrap_or_default();
        let time = word(SampleFormat::TIME)?.unwrap_or_default();
        word(SampleFormat::ADDR)?;
        let id = word(SampleFormat::ID)?.or(identifier);
        word(SampleFormat::STREAM_ID)?;
        word(SampleFormat::CPU)?;
        let period = word(SampleFormat::PERIOD)?.unwrap_or(1);
        if format.contains(SampleFormat::READ) {
            words.skip_counters(info, lost)?;
        }
        let mut chain = &[][..];
        if format.contains(SampleFormat::CALLCHAIN) {
            let length = usize::try_from(words.next()?).ok()?.checked_mul(8)?;
            chain = words.0.get(..length)?;
        }
        let (pid, tid) = ((ids as u32).cast_signed(), (ids >> 32) as u32);
        Some(Self { ip, id, pid, tid, time, period, chain })
    }

    /// The call chain, innermost first: addresses, and marks among them.
    pub(super) fn chain(&self) -> impl Iterator<Item = u64> {
        Words(self.chain)
    }
}

struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// `struct read_format`: the values of one counter, or those of a group.
    fn skip_counters(&mut self, info: &RecordParseInfo, lost: bool) -> Option<()> {
        let has = |field| u64::from(info.read_format.contains(field));
        let each = 1 + has(ReadFormat::ID) + u64::from(lost);
        let grouped = info.read_format.contains(ReadFormat::GROUP);
        let counters = if grouped { self.next()? } else { 1 };
        let times = has(ReadFormat::TOTAL_TIME_ENABLED) + has(ReadFormat::TOTAL_TIME_RUNNING);
        let bytes = counters.checked_mul(each)?.checked_add(times)?.checked_mul(8)?;
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }
}

impl Iterator for Words<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use linux_perf_data::linux_perf_event_reader::{BranchSampleFormat, Endianness, RecordIdParseInfo};

    use super::*;

    fn info(read_format: ReadFormat) -> RecordParseInfo {
        RecordParseInfo {
            endian: Endianness::LittleEndian,
            sample_format: WHOLE,
            branch_sample_format: BranchSampleFormat::empty(),
            read_format,
            common_data_offset_from_end: None,
            sample_regs_user: 0,
            user_regs_count: 0,
            sample_regs_intr: 0,
            intr_regs_count: 0,
            id_parse_info: RecordIdParseInfo {
                nonsample_record_id_offset_from_end: None,
                sample_record_id_offset_from_start: None,
            },
            nonsample_record_time_offset_from_end: None,
            sample_record_time_offset_from_start: None,
        }
    }

    const WHOLE: SampleFormat = SampleFormat::from_bits_truncate(
        SampleFormat::IDENTIFIER.bits()
            | SampleFormat::IP.bits()
            | SampleFormat::TID.bits()
            | SampleFormat::TIME.bits()
            | SampleFormat::ADDR.bits()
            | SampleFormat::CPU.bits()
            | SampleFormat::PERIOD.bits()
            | SampleFormat::READ.bits()
            | SampleFormat::CALLCHAIN.bits(),
    );

    #[test]
    fn a_sample_is_read_in_the_kernels_order_with_a_groups_counters() {
        let head = [90, 0x1000, 7 << 32 | 5, 99, 91, 92, 10];
        // A group: how many, the time enabled, and for each its value, id and losses.
        let group = [2, 93, 1, 94, 0, 2, 95, 0];
        let one = [93, 1, 94, 0];
        let chain = [3, u64::MAX - 511, 0x1000, 0x2000];
        let both = ReadFormat::ID | ReadFormat::TOTAL_TIME_ENABLED;
        for (read, counters) in [(both | ReadFormat::GROUP, &group[..]), (both, &one)] {
            let words = [&head[..], counters, &chain].concat();
            let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let sample = Sample::parse(&body, &info(read), true).unwrap();
            assert_eq!((sample.ip, sample.id, sample.pid, sample.tid), (Some(0x1000), Some(90), 5, 7));
            assert_eq!((sample.time, sample.period), (99, 10));
            assert_eq!(sample.chain().collect::<Vec<_>>(), chain[1..]);
            for end in 0..body.len() {
                assert_eq!(Sample::parse(&body[..end], &info(read), true), None, "{end} bytes");
            }
        }
    }

    #[test]
    fn marks_are_no_addresses() {
        assert_eq!(Entry::of(u64::MAX - 127), Entry::Mark { kernel: true });
        assert_eq!(Entry::of(u64::MAX - 511), Entry::Mark { kernel: false });
        assert_eq!(Entry::of(u64::MAX - 4095), Entry::Address(u64::MAX - 4095));
    }
}
