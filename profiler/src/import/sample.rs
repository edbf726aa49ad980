//! The body of a PERF_RECORD_SAMPLE of a perf.data, up to its stack, in place: there are very many of them. The
//! order is that of `perf_event_open(2)`.

use linux_perf_data::linux_perf_event_reader::{ReadFormat, RecordParseInfo, SampleFormat};

use crate::unwind::{End, Registers};

/// The first of PERF_CONTEXT_*, marks among the addresses of a chain: what follows is the kernel's, or not.
const FIRST_MARK: u64 = u64::MAX - 4094;
/// PERF_CONTEXT_KERNEL
const KERNEL_MARK: u64 = u64::MAX - 127;
/// PERF_CONTEXT_USER
pub(super) const USER_MARK: u64 = u64::MAX - 511;
/// Marks of our own: why a chain that we unwound ends.
const ENDS: [(u64, End); 5] = [
    (FIRST_MARK + 1, End::Root),
    (FIRST_MARK + 2, End::StackCopy),
    (FIRST_MARK + 3, End::Elsewhere),
    (FIRST_MARK + 4, End::NoTables),
    (FIRST_MARK + 5, End::NoCode),
];

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
    /// With `--call-graph dwarf`, unless it is of a thread of the kernel.
    pub(super) user: Option<User<'a>>,
    chain: &'a [u8],
}

/// What a stack of the program is unwound from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User<'a> {
    pub(super) registers: Registers,
    /// From the stack pointer on.
    pub(super) stack: &'a [u8],
}

/// An entry of a call chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// An address.
    Address(u64),
    /// What follows is code of the kernel, or not.
    Mark { kernel: bool },
    /// Nothing follows, and why.
    End(End),
}

impl Entry {
    /// As the kernel writes it.
    pub(super) fn of(word: u64) -> Self {
        if word < FIRST_MARK {
            return Self::Address(word);
        }
        match ENDS.iter().find(|(mark, _)| *mark == word) {
            Some((_, end)) => Self::End(*end),
            None => Self::Mark { kernel: word == KERNEL_MARK },
        }
    }

    /// What [`Entry::of`] reads as an end.
    pub(super) fn word_of(end: End) -> u64 {
        ENDS.iter().find(|(_, known)| *known == end).map_or(FIRST_MARK, |(mark, _)| *mark)
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
            (chain, words.0) = words.0.split_at_checked(length)?;
        }
        let user = words.user(info);
        let (pid, tid) = ((ids as u32).cast_signed(), (ids >> 32) as u32);
        Some(Self { ip, id, pid, tid, time, period, user, chain })
    }

    /// The call chain, innermost first: addresses, and marks among them.
    pub(super) fn chain(&self) -> impl Iterator<Item = u64> {
        Words(self.chain)
    }
}

struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
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

    /// Registers and stack, behind the call chain and what a tracepoint said.
    fn user(&mut self, info: &RecordParseInfo) -> Option<User<'a>> {
        let format = info.sample_format;
        let both = SampleFormat::REGS_USER | SampleFormat::STACK_USER;
        if !format.contains(both) || format.contains(SampleFormat::BRANCH_STACK) {
            return None;
        }
        if format.contains(SampleFormat::RAW) {
            let size = u32::from_le_bytes(*self.0.first_chunk()?);
            self.0 = self.0.get(4 + usize::try_from(size).ok()?..)?;
        }
        // PERF_SAMPLE_REGS_ABI_64: there are none for threads of the kernel, and nobody else is known.
        if self.next()? != 2 {
            return None;
        }
        let (mut ip, mut sp, mut bp) = (None, None, None);
        for number in (0..64).filter(|number| info.sample_regs_user >> number & 1 == 1) {
            let value = self.next();
            match number {
                6 => bp = value,
                7 => sp = value,
                8 => ip = value,
                _ => {}
            }
        }
        let size = usize::try_from(self.next()?).ok()?;
        let (stack, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        // How much of it the kernel could read.
        let read = if size == 0 { 0 } else { usize::try_from(self.next()?).ok()? };
        Some(User { registers: Registers { ip: ip?, sp: sp?, bp: bp? }, stack: stack.get(..read)? })
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
    fn registers_and_stack_are_read_behind_the_chain() {
        let format = SampleFormat::IP
            | SampleFormat::CALLCHAIN
            | SampleFormat::RAW
            | SampleFormat::REGS_USER
            | SampleFormat::STACK_USER;
        // ax, bp, sp, ip, flags
        let registers = 1 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9;
        let info = RecordParseInfo {
            sample_format: format,
            sample_regs_user: registers,
            user_regs_count: 5,
            ..info(ReadFormat::empty())
        };
        // 4 bytes of what a tracepoint said behind their number; 16 bytes of stack of which 8 were read.
        let words = [0x1000, 1, 0x2000, 9 << 32 | 4, 2, 11, 12, 13, 14, 15, 16, 21, 22, 8];
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let body = bytes(&words);
        let user = Sample::parse(&body, &info, false).unwrap().user.unwrap();
        assert_eq!(user.registers, Registers { ip: 14, sp: 13, bp: 12 });
        assert_eq!(user.stack, bytes(&[21]));
        for end in bytes(&words[..3]).len()..body.len() {
            let cut = Sample::parse(&body[..end], &info, false);
            assert!(cut.is_some_and(|sample| sample.user.is_none()), "{end} bytes");
        }
        let of_kernel = bytes(&[0x1000, 1, 0x2000, 9 << 32 | 4, 0, 0, 0]);
        assert!(Sample::parse(&of_kernel, &info, false).unwrap().user.is_none());
    }

    #[test]
    fn ends_are_no_marks_of_the_kernel() {
        for (word, end) in ENDS {
            assert_eq!((Entry::of(word), Entry::word_of(end)), (Entry::End(end), word));
            assert!(![KERNEL_MARK, USER_MARK].contains(&word));
        }
    }

    #[test]
    fn marks_are_no_addresses() {
        assert_eq!(Entry::of(u64::MAX - 127), Entry::Mark { kernel: true });
        assert_eq!(Entry::of(u64::MAX - 511), Entry::Mark { kernel: false });
        assert_eq!(Entry::of(u64::MAX - 4095), Entry::Address(u64::MAX - 4095));
    }
}
