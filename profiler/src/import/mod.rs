//! `perf.data` with what names its code (jitdumps, perf maps), as a recording. Stacks are those that perf
//! recorded; this adds names and lines, not callers.

mod checked;
mod sample;
mod unwound;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use linux_perf_data::linux_perf_event_reader::{
    CpuMode, EventRecord, PerfClock, RawData, RawEventRecord, RecordType, SampleFormat,
};
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use rustc_hash::FxBuildHasher;

use self::checked::{Checked, FirstEvent};
use self::sample::{Entry, Sample, USER_MARK};
use self::unwound::Unwinder;
use crate::code::timeline::Timeline;
use crate::descriptions::{self, DescriptionError};
use crate::host_names::{self, Source};
use crate::limits::{self, Notes};
use crate::recording::{Info, ObjectInfo, Recording, SampleRow};
use crate::target::host::{Segments, UnwindTables};
use crate::target::space::{JIT, KERNEL, ObjectId, UNKNOWN};
use crate::target::{self, Target};
use crate::unwind::{End, Frames, RawFrame};

/// Why an import fails.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Not what `perf record` writes.
    #[error("{0} is no perf.data: {1}")]
    Perf(PathBuf, linux_perf_data::Error),
    /// Cut or damaged.
    #[error("{0} cannot be read as perf.data: {1}")]
    Damaged(PathBuf, io::Error),
    /// A jitdump or a perf map that was named.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// No samples.
    #[error("{0} has no samples, or is cut off or damaged before the first one")]
    Empty(PathBuf),
    /// With `perf record -z`.
    #[error("{0} is compressed: record without -z")]
    Compressed(PathBuf),
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The samples of the first event: those of another one are counted in another unit.
    pub recording: Recording,
    /// How many samples of other events are left out.
    pub others: u64,
    /// Samples have call chains: perf had -g.
    pub has_chains: bool,
    /// Samples of the program that have a copy of the stack: perf had --call-graph dwarf.
    pub copies: u64,
    /// Of these, those whose stack goes on behind it.
    pub cut: u64,
    /// Jitdumps of processes of which perf saw no code, with these processes.
    pub strangers: Vec<(PathBuf, u32)>,
    /// What was left out, and why.
    pub notes: Notes,
}

/// Imports `data`. `described`: jitdumps and perf maps; those that perf saw mapped, and the maps of its
/// processes in /tmp, are found without being named.
///
/// # Errors
/// See [`ImportError`].
pub fn perf_data(data: &Path, described: &[PathBuf]) -> Result<Imported, ImportError> {
    let mut import = Import { jitdumps: described.iter().cloned().collect(), ..Import::default() };
    let file = File::open(data).map_err(|error| ImportError::Read(data.to_owned(), error))?;
    let file = Checked::new(file).map_err(|error| ImportError::Damaged(data.to_owned(), error))?;
    if file.first().copies_stacks() {
        // Code says how far a function's prologue has come.
        import.timeline.keep_bytes();
    }
    let mut strangers = Vec::new();
    for path in described {
        strangers.extend(import.describe(path)?.map(|of| (path.clone(), of)));
    }
    import.read(data, file)?;
    if import.timeline.codes().is_empty() {
        let pids: Vec<i32> = import.pids.iter().take(limits::DESCRIPTION_FILES).copied().collect();
        for pid in pids {
            let _ = import.describe(Path::new(&format!("/tmp/perf-{pid}.map")));
        }
    }
    strangers.retain(|(_, of)| !import.pids.contains(&of.cast_signed()));
    let Import { others, has_chains, copies, cut, .. } = import;
    let (recording, notes) = import.finish(data)?;
    Ok(Imported { recording, others, has_chains, copies, cut, strangers, notes })
}

/// The file is read once. What a jitdump describes is known behind its last record, so that stacks are of
/// addresses until then.
#[derive(Default)]
struct Import {
    recording: Recording,
    timeline: Timeline,
    /// Jitdumps that were named, or that perf saw mapped.
    jitdumps: HashSet<PathBuf>,
    limits: descriptions::Limits,
    notes: Notes,
    pids: BTreeSet<i32>,
    regions: HashMap<i32, Regions>,
    unwinder: Unwinder,
    /// Counts the changes of the regions.
    maps: u32,
    files: HashMap<String, (ObjectId, Option<Segments>)>,
    /// The kernel's code in a process, which is no file: its bytes, by its number.
    vdsos: HashMap<ObjectId, Vec<u8>>,
    spots: HashMap<(u64, At), u32, FxBuildHasher>,
    /// By their numbers: the address, and what is there unless somebody describes it.
    places: Vec<(u64, RawFrame)>,
    /// The words of a call chain behind what it was found in, with 0 for its innermost address.
    chains: HashMap<Box<[u64]>, u32, FxBuildHasher>,
    /// By their numbers: the callers, spots in [`Import::callers`], and why they end.
    chain_list: Vec<(Range<u32>, End)>,
    callers: Vec<u32>,
    /// The innermost address and the chain, which says what it means.
    stacks: HashMap<(u64, u32), u32, FxBuildHasher>,
    /// By their numbers: the innermost spot and the chain.
    stack_list: Vec<(u32, u32)>,
    key: Vec<u64>,
    unwound: Vec<u64>,
    /// Times of samples are those of jitdumps.
    monotonic: bool,
    /// Samples of other events than the first.
    others: u64,
    has_chains: bool,
    copies: u64,
    cut: u64,
}

/// What decides what an address means: the process, how often the regions had changed, and the mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    pid: i32,
    maps: u32,
    kernel: bool,
}

impl At {
    fn word(self) -> u64 {
        u64::from(self.pid.cast_unsigned()) << 32 | u64::from(self.maps) << 1 | u64::from(self.kernel)
    }
}

/// Executable memory of a process.
#[derive(Default)]
struct Regions {
    by_start: BTreeMap<u64, Region>,
    changes: u32,
}

#[derive(PartialEq, Eq)]
struct Region {
    end: u64,
    id: ObjectId,
    bias: u64,
}

impl Import {
    fn describe(&mut self, path: &Path) -> Result<Option<u32>, DescriptionError> {
        let read = descriptions::read_file(path, &mut self.timeline, &mut self.limits)?;
        read.left_out.iter().for_each(|note| self.notes.add(note));
        Ok(read.of)
    }

    fn read(&mut self, path: &Path, file: Checked) -> Result<(), ImportError> {
        let event = each_record(path, file, |event, clock, record| {
            self.monotonic = matches!(clock, PerfClock::ClockId(id) if id as i32 == libc::CLOCK_MONOTONIC);
            if record.record_type != RecordType::SAMPLE {
                self.other(record);
                return;
            }
            self.has_chains |= record.parse_info.sample_format.contains(SampleFormat::CALLCHAIN);
            let kernel = CpuMode::from_misc(record.misc) == CpuMode::Kernel;
            match Sample::parse(&record.data.as_slice(), &record.parse_info, event.counts_lost()) {
                Some(sample) if event.has(sample.id) => self.sample(&sample, kernel),
                Some(_) => self.others += 1,
                None => {}
            }
        })?;
        let (event, unit) = event.name_and_unit();
        self.recording.info = Info {
            recorder: "perf record".into(),
            program: path.display().to_string(),
            event,
            unit: unit.into(),
            ..Info::default()
        };
        Ok(())
    }

    /// A record that is no sample.
    fn other(&mut self, record: &RawEventRecord<'_>) {
        if !can_be_parsed(record.record_type, record.misc, record.data) {
            return;
        }
        let text = |bytes: RawData<'_>| String::from_utf8_lossy(&bytes.as_slice()).into_owned();
        match record.parse() {
            Ok(EventRecord::Mmap2(map)) if map.protection & 4 != 0 => {
                self.map(map.pid, map.address, map.length, map.page_offset, text(map.path));
            }
            Ok(EventRecord::Mmap(map)) if map.is_executable => {
                self.map(map.pid, map.address, map.length, map.page_offset, text(map.path));
            }
            Ok(EventRecord::Comm(name)) => {
                self.recording.threads.insert(name.tid as u32, text(name.name));
            }
            _ => {}
        }
    }

    fn map(&mut self, pid: i32, address: u64, length: u64, offset: u64, path: String) {
        if pid > 0 {
            self.pids.insert(pid);
        }
        let file = Path::new(&path);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("jit-")
            && name.ends_with(".dump")
            && !self.jitdumps.contains(file)
            && self.jitdumps.len() < self.limits.files
        {
            self.jitdumps.insert(file.to_owned());
            // One that cannot be read names nothing; perf itself does without it too.
            let _ = self.describe(file);
        }
        let end = address.saturating_add(length);
        if path.starts_with("//anon") {
            self.put(pid, address, Region { end, id: UNKNOWN, bias: 0 });
            return;
        }
        if path == "[vdso]" {
            self.vdso(pid, address..end);
            return;
        }
        // Of the kernel, or no file.
        if pid < 0 || !path.starts_with('/') {
            return;
        }
        let next = ObjectId(self.files.len() as u32 + 3);
        let (id, segments) = self.files.entry(path).or_insert_with_key(|path| {
            let at = if path.ends_with(" (deleted)") { mapping(pid, address..end, path) } else { None };
            let at = at.unwrap_or_else(|| path.clone());
            let segments = Segments::read(Path::new(&at)).ok();
            let reached = segments.is_some().then_some(at);
            let info = ObjectInfo::Host { path: path.clone(), reached, build_id: None };
            self.recording.objects.insert(next.0, info);
            (next, segments)
        });
        let bias = match segments {
            Some(segments) => segments.bias(address, offset),
            None => address.wrapping_sub(offset),
        };
        let region = Region { end, id: *id, bias };
        self.put(pid, address, region);
    }

    /// As long as the process lives it can be read from its memory.
    fn vdso(&mut self, pid: i32, range: Range<u64>) {
        let Some(target) = u32::try_from(pid).ok().and_then(|pid| Target::open(pid).ok()) else { return };
        let here = |region: &target::Region| region.path == "[vdso]" && region.start == range.start;
        if !target.regions().is_ok_and(|regions| regions.iter().any(here)) {
            return;
        }
        let bytes = target.read(range.start, usize::try_from(range.end - range.start).unwrap_or_default());
        let Ok(tables) = UnwindTables::from_bytes(&bytes) else { return };
        let id = ObjectId(self.files.len() as u32 + 3);
        self.files.insert(format!("[vdso] of {pid}"), (id, None));
        let info = ObjectInfo::Host { path: "[vdso]".into(), reached: None, build_id: None };
        self.recording.objects.insert(id.0, info);
        self.put(pid, range.start, Region { end: range.end, id, bias: tables.segments.bias(range.start, 0) });
        self.unwinder.know_vdso(id, &bytes, tables);
        self.vdsos.insert(id, bytes);
    }

    fn put(&mut self, pid: i32, address: u64, region: Region) {
        let regions = self.regions.entry(pid).or_default();
        // Engines make the same memory writable and executable again and again.
        if regions.by_start.get(&address) == Some(&region) {
            return;
        }
        regions.by_start.insert(address, region);
        regions.changes += 1;
        self.maps += 1;
    }

    /// The call chain of a sample with its stack unwound behind it.
    fn unwind(&mut self, sample: &Sample<'_>, kernel: bool) -> Option<Vec<u64>> {
        let user = sample.user.as_ref()?;
        let mut words = std::mem::take(&mut self.unwound);
        words.clear();
        if kernel {
            words.extend(sample.chain().take_while(|word| *word != USER_MARK));
        }
        words.push(USER_MARK);
        let (none, time) = (Regions::default(), if self.monotonic { sample.time } else { u64::MAX });
        let regions = self.regions.get(&sample.pid).unwrap_or(&none);
        let (files, timeline) = (&self.recording.objects, &self.timeline);
        let end = self.unwinder.unwind(sample.pid, regions, files, (user, time), timeline, &mut words);
        words.push(Entry::word_of(end));
        self.copies += 1;
        self.cut += u64::from(end == End::StackCopy);
        Some(words)
    }

    fn sample(&mut self, sample: &Sample<'_>, kernel: bool) {
        match self.unwind(sample, kernel) {
            Some(words) => {
                self.add(sample, kernel, words.iter().copied());
                self.unwound = words;
            }
            None => self.add(sample, kernel, sample.chain()),
        }
    }

    /// Most samples have their callers in common with many others, word by word.
    fn add(&mut self, sample: &Sample<'_>, kernel: bool, mut chain: impl Iterator<Item = u64>) {
        let mut at = At { pid: sample.pid, maps: self.maps, kernel };
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push(at.word());
        let mut innermost = sample.ip.unwrap_or_default();
        for word in chain.by_ref() {
            match Entry::of(word) {
                Entry::Mark { kernel } => {
                    at.kernel = kernel;
                    key.push(word);
                }
                Entry::End(_) => key.push(word),
                Entry::Address(address) => {
                    innermost = address;
                    key.push(0);
                    break;
                }
            }
        }
        key.extend(chain);
        let chain = match self.chains.get(key.as_slice()) {
            Some(chain) => *chain,
            None => self.new_chain(&key, at),
        };
        self.key = key;
        let stack = match self.stacks.get(&(innermost, chain)) {
            Some(stack) => *stack,
            None => {
                let number = self.stack_list.len() as u32;
                let spot = self.spot(innermost, at);
                self.stack_list.push((spot, chain));
                self.stacks.insert((innermost, chain), number);
                number
            }
        };
        let (time, tid, weight) = (sample.time, sample.tid, sample.period);
        self.recording.samples.push(SampleRow { time, tid, stack, weight });
    }

    /// Numbers a chain of callers. `at`: where its innermost address is.
    fn new_chain(&mut self, key: &[u64], mut at: At) -> u32 {
        let start = self.callers.len() as u32;
        let callers =
            key.iter().position(|word| *word == 0).map_or(&[][..], |innermost| &key[innermost + 1..]);
        let (mut interrupted, mut end) = (false, End::Root);
        for word in callers {
            match Entry::of(*word) {
                Entry::Mark { kernel } => (at.kernel, interrupted) = (kernel, true),
                Entry::End(why) => end = why,
                Entry::Address(address) => {
                    // A caller goes on behind its call; what was interrupted goes on there.
                    let address = if interrupted { address } else { address.wrapping_sub(1) };
                    interrupted = false;
                    let spot = self.spot(address, at);
                    self.callers.push(spot);
                }
            }
        }
        let number = self.chain_list.len() as u32;
        self.chain_list.push((start..self.callers.len() as u32, end));
        self.chains.insert(key.into(), number);
        number
    }

    fn spot(&mut self, address: u64, at: At) -> u32 {
        if let Some(number) = self.spots.get(&(address, at)) {
            return *number;
        }
        let regions = self.regions.get(&at.pid);
        let region = regions.and_then(|regions| regions.by_start.range(..=address).next_back());
        let frame = match region.filter(|(_, region)| address < region.end) {
            _ if at.kernel => RawFrame { object: KERNEL, address },
            Some((_, region)) if region.id != UNKNOWN => {
                RawFrame { object: region.id, address: address.wrapping_sub(region.bias) }
            }
            _ => RawFrame { object: UNKNOWN, address: 0 },
        };
        let number = self.places.len() as u32;
        self.places.push((address, frame));
        self.spots.insert((address, at), number);
        number
    }

    /// Puts what is described at the time of each sample into the stacks.
    fn finish(mut self, data: &Path) -> Result<(Recording, Notes), ImportError> {
        self.unwinder.note(&mut self.notes);
        let Self { mut recording, timeline, stacks, stack_list, monotonic, spots, chains, mut notes, .. } =
            self;
        if recording.samples.is_empty() {
            return Err(ImportError::Empty(data.to_owned()));
        }
        drop((spots, chains, stacks));
        // Between two of these nothing that is described changes.
        let mut changes: Vec<u64> = timeline.loads().iter().map(|load| load.time).collect();
        changes.sort_unstable();
        changes.dedup();
        let mut described =
            Described { timeline: &timeline, places: &self.places, frames: Frames::default() };
        let mut callers: HashMap<(u32, usize), Vec<u32>, FxBuildHasher> = HashMap::default();
        let mut known: HashMap<(u32, usize), u32, FxBuildHasher> = HashMap::default();
        // Of each stack: after how many changes it was seen last, and its number then.
        let mut last = vec![(usize::MAX, 0); stack_list.len()];
        let Recording { samples, stacks, .. } = &mut recording;
        let mut stack = Vec::new();
        for sample in samples {
            let time = if monotonic { sample.time } else { u64::MAX };
            let change = changes.partition_point(|change| *change <= time);
            let last = &mut last[sample.stack as usize];
            if last.0 != change {
                let number = *known.entry((sample.stack, change)).or_insert_with(|| {
                    let (innermost, chain) = stack_list[sample.stack as usize];
                    stack.clear();
                    stack.push(described.frame(innermost, time));
                    stack.extend_from_slice(callers.entry((chain, change)).or_insert_with(|| {
                        let Range { start, end } = self.chain_list[chain as usize].0;
                        let spots = &self.callers[start as usize..end as usize];
                        spots.iter().map(|spot| described.frame(*spot, time)).collect()
                    }));
                    stacks.push(&stack, self.chain_list[chain as usize].1)
                });
                *last = (change, number);
            }
            sample.stack = last.1;
        }
        recording.frames = described.frames.into_list();
        let vdso = |id| self.vdsos.get(&id).map(|bytes| Source::Bytes(bytes));
        let names = host_names::of_recording(&recording, vdso, &mut notes);
        recording.names.extend(names.into_iter().map(|(frame, name)| (frame, name.into())));
        recording.add_code(&timeline);
        Ok((recording, notes))
    }
}

/// A file that was deleted, as Traffic Server does with its copies of plugins, by the mapping itself: as long as the process
/// lives.
fn mapping(pid: i32, range: Range<u64>, path: &str) -> Option<String> {
    let link = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
    (std::fs::read_link(&link).ok()? == Path::new(path)).then_some(link)
}

/// Frames of spots, with what is described.
struct Described<'a> {
    timeline: &'a Timeline,
    places: &'a [(u64, RawFrame)],
    frames: Frames,
}

impl Described<'_> {
    fn frame(&mut self, spot: u32, time: u64) -> u32 {
        let (address, frame) = self.places[spot as usize];
        let code = self.timeline.number_at(address, time).filter(|_| frame.object != KERNEL);
        self.frames.number(code.map_or(frame, |(number, offset)| RawFrame {
            object: JIT,
            address: u64::from(number) << 32 | offset & 0xffff_ffff,
        }))
    }
}

/// Hands on each record, and returns the first event.
fn each_record(
    path: &Path,
    file: Checked,
    mut each: impl FnMut(&FirstEvent, PerfClock, &RawEventRecord<'_>),
) -> Result<FirstEvent, ImportError> {
    let first = file.first().clone();
    let wrong = |error| ImportError::Perf(path.to_owned(), error);
    let PerfFileReader { mut perf_file, mut record_iter } =
        PerfFileReader::parse_file(BufReader::with_capacity(1 << 18, file)).map_err(wrong)?;
    let clock =
        perf_file.event_attributes().first().map_or(PerfClock::Default, |attribute| attribute.attr.clock);
    loop {
        match record_iter.next_record(&mut perf_file) {
            Ok(Some(PerfFileRecord::EventRecord { record, .. })) => each(&first, clock, &record),
            Ok(Some(PerfFileRecord::UserRecord(_))) => {}
            // What the reader says of a compressed record.
            Err(linux_perf_data::Error::IoError(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(ImportError::Compressed(path.to_owned()));
            }
            // A torn end, as after a full disk: what is before it counts.
            Ok(None) | Err(_) => return Ok(first),
        }
    }
}

/// The reader takes for granted that a build id has 20 bytes at most, and panics else.
fn can_be_parsed(kind: RecordType, misc: u16, data: RawData<'_>) -> bool {
    const WITH_BUILD_ID: u16 = 1 << 14;
    /// Behind process, thread, address, length and offset.
    const BUILD_ID_LENGTH: usize = 32;
    if kind != RecordType::MMAP2 || misc & WITH_BUILD_ID == 0 {
        return true;
    }
    data.get(BUILD_ID_LENGTH..BUILD_ID_LENGTH + 1).is_some_and(|length| length.as_slice()[0] <= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_that_is_too_long_is_no_record() {
        let mut body = [0; 64];
        let mut check = |length: u8, misc| {
            body[32] = length;
            can_be_parsed(RecordType::MMAP2, misc, RawData::Single(&body))
        };
        assert!(check(20, 1 << 14));
        assert!(!check(21, 1 << 14));
        assert!(check(21, 0), "without the bit it is the device's number");
        assert!(!can_be_parsed(RecordType::MMAP2, 1 << 14, RawData::Single(&[0; 32])));
    }
}
