//! `perf.data` with what names its code (jitdumps, perf maps), as a recording. Stacks are those that perf
//! recorded; this adds names and lines, not callers.

mod checked;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use linux_perf_data::linux_perf_event_reader::{
    CpuMode, EventRecord, PerfClock, RawData, RecordType, SampleRecord,
};
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use rustc_hash::FxBuildHasher;

use self::checked::Checked;
use crate::code::timeline::Timeline;
use crate::descriptions::{self, DescriptionError};
use crate::host::UnwindTables;
use crate::recording::{Info, ObjectInfo, Recording, SampleRow};
use crate::space::{JIT, KERNEL, ObjectId, UNKNOWN};
use crate::unwind::{End, Frames, RawFrame};

/// Why an import fails.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// Not what `perf record` writes.
    #[error("{0} is no perf.data: {1}")]
    Perf(PathBuf, linux_perf_data::Error),
    /// Cut or damaged.
    #[error("{0} cannot be read as perf.data: {1}")]
    Damaged(PathBuf, std::io::Error),
    /// A jitdump or a perf map that was named.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// No samples.
    #[error("{0} has no samples")]
    Empty(PathBuf),
}

/// Imports `data`. `described`: jitdumps and perf maps; those that perf saw mapped, and the maps of its
/// processes in /tmp, are found without being named.
///
/// # Errors
/// See [`ImportError`].
pub fn perf_data(data: &Path, described: &[PathBuf]) -> Result<Recording, ImportError> {
    let mut import = Import::default();
    for path in described {
        import.describe(path)?;
    }
    import.read(data)?;
    for path in std::mem::take(&mut import.jitdumps) {
        if !described.contains(&path) && path.is_file() {
            // One that cannot be read names nothing; perf itself does without it too.
            let _ = import.describe(&path);
        }
    }
    if import.timeline.codes().is_empty() {
        for pid in std::mem::take(&mut import.pids) {
            let _ = import.describe(Path::new(&format!("/tmp/perf-{pid}.map")));
        }
    }
    import.finish(data)
}

/// The file is read once. What a jitdump describes is known behind its last record, so that stacks are of
/// addresses until then.
#[derive(Default)]
struct Import {
    recording: Recording,
    timeline: Timeline,
    /// Jitdumps that perf saw mapped.
    jitdumps: Vec<PathBuf>,
    pids: Vec<i32>,
    regions: HashMap<i32, BTreeMap<u64, Region>>,
    /// Counts the changes of the regions.
    maps: u32,
    files: HashMap<String, (ObjectId, Option<UnwindTables>)>,
    spots: HashMap<Spot, u32, FxBuildHasher>,
    /// By their numbers: the address, and what is there unless somebody describes it.
    places: Vec<(u64, RawFrame)>,
    /// By the numbers of their spots.
    stacks: HashMap<Box<[u32]>, u32, FxBuildHasher>,
    key: Vec<u32>,
    /// Times of samples are those of jitdumps.
    monotonic: bool,
}

/// An address in a process, while it is mapped as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Spot {
    address: u64,
    pid: i32,
    maps: u32,
    kernel: bool,
}

#[derive(Clone)]
struct Region {
    end: u64,
    id: ObjectId,
    bias: u64,
}

impl Import {
    fn describe(&mut self, path: &Path) -> Result<(), DescriptionError> {
        descriptions::read_file(path, &mut self.timeline)
    }

    fn read(&mut self, path: &Path) -> Result<(), ImportError> {
        each_record(path, |clock, record| {
            self.monotonic = matches!(clock, PerfClock::ClockId(id) if id as i32 == libc::CLOCK_MONOTONIC);
            match record {
                EventRecord::Sample(sample) => self.sample(&sample),
                EventRecord::Mmap2(map) if map.protection & 4 != 0 => {
                    let path = String::from_utf8_lossy(&map.path.as_slice()).into_owned();
                    self.map(map.pid, map.address, map.length, map.page_offset, path);
                }
                EventRecord::Mmap(map) if map.is_executable => {
                    let path = String::from_utf8_lossy(&map.path.as_slice()).into_owned();
                    self.map(map.pid, map.address, map.length, map.page_offset, path);
                }
                EventRecord::Comm(name) => {
                    let text = String::from_utf8_lossy(&name.name.as_slice()).into_owned();
                    self.recording.threads.insert(name.tid as u32, text);
                }
                _ => {}
            }
        })
    }

    fn map(&mut self, pid: i32, address: u64, length: u64, offset: u64, path: String) {
        if pid > 0 && !self.pids.contains(&pid) {
            self.pids.push(pid);
        }
        let file = Path::new(&path);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("jit-")
            && name.ends_with(".dump")
            && !self.jitdumps.iter().any(|known| known == file)
        {
            self.jitdumps.push(file.to_owned());
        }
        // Of the kernel, or no file.
        if pid < 0 || !path.starts_with('/') || path.starts_with("//anon") {
            return;
        }
        let next = ObjectId(self.files.len() as u32 + 3);
        let (id, tables) = self.files.entry(path).or_insert_with_key(|path| {
            let tables = UnwindTables::read(Path::new(path)).ok();
            let info = ObjectInfo::Host { path: path.clone(), reached: None, build_id: None };
            self.recording.objects.insert(next.0, info);
            (next, tables)
        });
        let bias = match tables {
            Some(tables) => tables.bias(address, offset),
            None => address.wrapping_sub(offset),
        };
        let region = Region { end: address.saturating_add(length), id: *id, bias };
        self.regions.entry(pid).or_default().insert(address, region);
        self.maps += 1;
    }

    fn sample(&mut self, sample: &SampleRecord<'_>) {
        let pid = sample.pid.unwrap_or(0);
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let mut kernel = sample.cpu_mode == CpuMode::Kernel;
        let mut leaf = true;
        let chain = sample.callchain;
        for address in (0..chain.map_or(0, |chain| chain.len())).filter_map(|index| chain?.get(index)) {
            // PERF_CONTEXT_KERNEL and PERF_CONTEXT_USER are -128 and -512.
            if address >= u64::MAX - 4095 {
                kernel = address == u64::MAX - 127;
                leaf = true;
                continue;
            }
            let lookup = if leaf { address } else { address.wrapping_sub(1) };
            leaf = false;
            key.push(self.spot(pid, lookup, kernel));
        }
        if key.is_empty()
            && let Some(ip) = sample.ip
        {
            key.push(self.spot(pid, ip, kernel));
        }
        let next = self.stacks.len() as u32;
        let stack = match self.stacks.get(key.as_slice()) {
            Some(stack) => *stack,
            None => *self.stacks.entry(key.as_slice().into()).or_insert(next),
        };
        self.key = key;
        self.recording.samples.push(SampleRow {
            time: sample.timestamp.unwrap_or_default(),
            tid: sample.tid.unwrap_or_default() as u32,
            stack,
            weight: sample.period.unwrap_or(1),
        });
    }

    fn spot(&mut self, pid: i32, address: u64, kernel: bool) -> u32 {
        let spot = Spot { address, pid, maps: self.maps, kernel };
        if let Some(number) = self.spots.get(&spot) {
            return *number;
        }
        let regions = self.regions.get(&pid);
        let region = regions.and_then(|regions| regions.range(..=address).next_back());
        let frame = match region.filter(|(_, region)| address < region.end) {
            _ if kernel => RawFrame { object: KERNEL, address },
            Some((_, region)) => RawFrame { object: region.id, address: address.wrapping_sub(region.bias) },
            None => RawFrame { object: UNKNOWN, address: 0 },
        };
        let number = self.places.len() as u32;
        self.places.push((address, frame));
        self.spots.insert(spot, number);
        number
    }

    /// Puts what is described at the time of each sample into the stacks.
    fn finish(self, data: &Path) -> Result<Recording, ImportError> {
        let Self { mut recording, timeline, places, stacks, monotonic, .. } = self;
        if recording.samples.is_empty() {
            return Err(ImportError::Empty(data.to_owned()));
        }
        drop(self.spots);
        let mut by_number = vec![Box::default(); stacks.len()];
        stacks.into_iter().for_each(|(spots, number)| by_number[number as usize] = spots);
        // Between two of these nothing that is described changes.
        let mut changes: Vec<u64> = timeline.loads().iter().map(|load| load.time).collect();
        changes.sort_unstable();
        let mut described = Described { timeline: &timeline, places: &places, frames: Frames::default() };
        let mut known: HashMap<(u32, usize), u32, FxBuildHasher> = HashMap::default();
        let Recording { samples, stacks, .. } = &mut recording;
        for sample in samples {
            let time = if monotonic { sample.time } else { u64::MAX };
            let change = changes.partition_point(|change| *change <= time);
            let new = || stacks.push(&described.stack(&by_number[sample.stack as usize], time), End::Root);
            sample.stack = *known.entry((sample.stack, change)).or_insert_with(new);
        }
        recording.frames = described.frames.into_list();
        recording.add_code(&timeline);
        Ok(recording)
    }
}

/// Frames of spots, with what is described.
struct Described<'a> {
    timeline: &'a Timeline,
    places: &'a [(u64, RawFrame)],
    frames: Frames,
}

impl Described<'_> {
    fn stack(&mut self, spots: &[u32], time: u64) -> Vec<u32> {
        let frame = |spot: &u32| {
            let (address, frame) = self.places[*spot as usize];
            let code = self.timeline.number_at(address, time).filter(|_| frame.object != KERNEL);
            self.frames.number(code.map_or(frame, |(number, offset)| RawFrame {
                object: JIT,
                address: u64::from(number) << 32 | offset & 0xffff_ffff,
            }))
        };
        spots.iter().map(frame).collect()
    }
}

fn each_record(path: &Path, mut each: impl FnMut(PerfClock, EventRecord<'_>)) -> Result<(), ImportError> {
    let file = File::open(path).map_err(|error| ImportError::Read(path.to_owned(), error))?;
    let file = Checked::new(file).map_err(|error| ImportError::Damaged(path.to_owned(), error))?;
    let wrong = |error| ImportError::Perf(path.to_owned(), error);
    let PerfFileReader { mut perf_file, mut record_iter } =
        PerfFileReader::parse_file(BufReader::with_capacity(1 << 18, file)).map_err(wrong)?;
    let clock =
        perf_file.event_attributes().first().map_or(PerfClock::Default, |attribute| attribute.attr.clock);
    loop {
        match record_iter.next_record(&mut perf_file) {
            Ok(Some(PerfFileRecord::EventRecord { record, .. })) => {
                if can_be_parsed(record.record_type, record.misc, record.data)
                    && let Ok(record) = record.parse()
                {
                    each(clock, record);
                }
            }
            Ok(Some(_)) => {}
            // A torn end, as after a full disk: what is before it counts.
            Ok(None) | Err(_) => return Ok(()),
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

/// A title and a unit for what perf does not say.
pub fn describe(recording: &mut Recording, data: &Path) {
    recording.info = Info {
        recorder: "perf record".into(),
        program: data.display().to_string(),
        event: "perf".into(),
        unit: "ns".into(),
        ..Info::default()
    };
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
