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
use crate::unwind::{End, RawFrame};

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
    let seen = scan(data)?;
    for path in seen.jitdumps.iter().filter(|path| !described.contains(path) && path.is_file()) {
        // One that cannot be read names nothing; perf itself does without it too.
        let _ = import.describe(path);
    }
    if import.timeline.codes().is_empty() {
        for pid in seen.pids {
            let _ = import.describe(Path::new(&format!("/tmp/perf-{pid}.map")));
        }
    }
    import.read(data)?;
    import.finish(data)
}

#[derive(Default)]
struct Import {
    recording: Recording,
    timeline: Timeline,
    regions: HashMap<i32, BTreeMap<u64, Region>>,
    files: HashMap<String, (ObjectId, Option<UnwindTables>)>,
    frames: HashMap<RawFrame, u32, FxBuildHasher>,
    stacks: HashMap<Box<[u32]>, u32, FxBuildHasher>,
    key: Vec<u32>,
    /// Times of samples are those of jitdumps.
    monotonic: bool,
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
    }

    fn sample(&mut self, sample: &SampleRecord<'_>) {
        let pid = sample.pid.unwrap_or(0);
        let time = if self.monotonic { sample.timestamp.unwrap_or(u64::MAX) } else { u64::MAX };
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
            key.push(self.frame(pid, lookup, time, kernel));
        }
        if key.is_empty()
            && let Some(ip) = sample.ip
        {
            key.push(self.frame(pid, ip, time, kernel));
        }
        let stack = match self.stacks.get(key.as_slice()) {
            Some(stack) => *stack,
            None => {
                let stack = self.recording.stacks.push(&key, End::Root);
                self.stacks.insert(key.as_slice().into(), stack);
                stack
            }
        };
        self.key = key;
        self.recording.samples.push(SampleRow {
            time: sample.timestamp.unwrap_or_default(),
            tid: sample.tid.unwrap_or_default() as u32,
            stack,
            weight: sample.period.unwrap_or(1),
        });
    }

    fn frame(&mut self, pid: i32, address: u64, time: u64, kernel: bool) -> u32 {
        let frame = if kernel {
            RawFrame { object: KERNEL, address }
        } else if let Some((number, offset)) = self.timeline.number_at(address, time) {
            RawFrame { object: JIT, address: u64::from(number) << 32 | offset & 0xffff_ffff }
        } else {
            let regions = self.regions.get(&pid);
            let region = regions.and_then(|regions| regions.range(..=address).next_back());
            match region.filter(|(_, region)| address < region.end) {
                Some((_, region)) => {
                    RawFrame { object: region.id, address: address.wrapping_sub(region.bias) }
                }
                None => RawFrame { object: UNKNOWN, address: 0 },
            }
        };
        let next = self.frames.len() as u32;
        let index = *self.frames.entry(frame).or_insert(next);
        if index == next {
            self.recording.frames.push(frame);
        }
        index
    }

    fn finish(self, data: &Path) -> Result<Recording, ImportError> {
        let Self { mut recording, timeline, .. } = self;
        if recording.samples.is_empty() {
            return Err(ImportError::Empty(data.to_owned()));
        }
        recording.add_code(&timeline);
        Ok(recording)
    }
}

struct Seen {
    jitdumps: Vec<PathBuf>,
    pids: Vec<i32>,
}

/// What perf saw of jitdumps: they must be read before the first sample is.
fn scan(path: &Path) -> Result<Seen, ImportError> {
    let mut seen = Seen { jitdumps: Vec::new(), pids: Vec::new() };
    each_record(path, |_, record| {
        if let EventRecord::Mmap2(map) = record {
            let path = PathBuf::from(String::from_utf8_lossy(&map.path.as_slice()).into_owned());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("jit-") && name.ends_with(".dump") && !seen.jitdumps.contains(&path) {
                seen.jitdumps.push(path.clone());
            }
            if map.pid > 0 && !seen.pids.contains(&map.pid) {
                seen.pids.push(map.pid);
            }
        }
    })?;
    Ok(seen)
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
