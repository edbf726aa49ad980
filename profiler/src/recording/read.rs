//! Reads a recording. A damaged or torn end loses what is behind it and nothing else.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;
use serde::de::DeserializeOwned;
use wasmdbg_control::{ModuleHash, ModulePc};

use super::bytes::{Cursor, checksum};
use super::write::tag;
use super::{MAGIC, ObjectInfo, Recording, SampleRow, TextRange, VERSION};
use crate::code::address_map::AddressMap;
use crate::code::image::{CodeKind, CompiledFunction};
use crate::code::timeline::{JitCode, JitLine, Timeline};
use crate::target::space::ObjectId;
use crate::unwind::RawFrame;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another file.
    #[error("this is no recording of wasmprof: it does not begin with WASMPROF")]
    NotARecording,
    /// Another version.
    #[error(
        "the recording has version {0} of the format and this wasmprof reads version {VERSION}: use the wasmprof that made it"
    )]
    Version(u32),
    /// Nothing in it.
    #[error("the recording is empty: the recorder ended before its first record")]
    Empty,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        Self::read(&file, path)
    }

    /// Reads a file that is open; `path` names it in errors.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(file: &File, path: &Path) -> Result<Self, ReadError> {
        let mut records = Records::new(BufReader::with_capacity(1 << 16, file));
        let recording = Self::read_records(&mut records);
        match records.error {
            Some(source) => Err(ReadError::File { path: path.to_owned(), source }),
            None => recording,
        }
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// See [`ReadError`]. Damage behind the first record is none: what is before it counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::read_records(&mut Records::new(bytes))
    }

    fn read_records(records: &mut Records<impl Read>) -> Result<Self, ReadError> {
        if records.take(MAGIC.len()) != Some(MAGIC) {
            return Err(ReadError::NotARecording);
        }
        let version = records.word().ok_or(ReadError::Empty)?;
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let mut recording = Self::default();
        let mut described = Timeline::default();
        let mut any = false;
        while let Some((tag, payload)) = records.next() {
            let taken = match tag {
                tag::DESCRIBED => self::described(payload, &mut described),
                _ => recording.take(tag, payload),
            };
            if taken.is_none() {
                break;
            }
            any = true;
        }
        recording.describe(&described);
        if any { Ok(recording) } else { Err(ReadError::Empty) }
    }

    /// Adds a record. One with an unknown tag is passed over: it cannot change what the others mean.
    fn take(&mut self, tag: u8, payload: &[u8]) -> Option<()> {
        match tag {
            tag::INFO => self.info = json(payload)?,
            tag::OBJECT => {
                let (id, info): (u32, ObjectInfo) = json(payload)?;
                self.objects.insert(id, info);
            }
            tag::FUNCTIONS => {
                let (id, functions) = functions(payload)?;
                self.functions.insert(id, functions);
            }
            tag::ADDRESS_MAP => {
                let (id, map) = address_map(payload)?;
                self.address_maps.insert(id, map);
            }
            tag::MODULE | tag::DEBUG_FILE => {
                let (hash, bytes) = payload.split_first_chunk()?;
                let map = if tag == tag::MODULE { &mut self.modules } else { &mut self.debug_files };
                map.insert(ModuleHash(*hash), Arc::from(bytes));
            }
            tag::FRAMES => frames(payload, &mut self.frames)?,
            tag::STACKS => self.stacks.read(payload, self.frames.len())?,
            tag::SAMPLES => samples(payload, self.stacks.len(), &mut self.samples)?,
            tag::THREAD => {
                let (tid, name) = json(payload)?;
                self.threads.insert(tid, name);
            }
            tag::NAMES => names(payload, &mut self.names)?,
            tag::SUMMARY => self.summary = Some(json(payload)?),
            _ => {}
        }
        Some(())
    }
}

/// The records of a file, one at a time.
struct Records<R> {
    source: R,
    taken: Vec<u8>,
    /// Why reading has ended before the end.
    error: Option<io::Error>,
}

impl<R: Read> Records<R> {
    fn new(source: R) -> Self {
        Self { source, taken: Vec::new(), error: None }
    }

    /// So many bytes; none at a torn end.
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        self.taken.clear();
        // The length may be damage: memory is taken for what is there.
        match (&mut self.source).take(length as u64).read_to_end(&mut self.taken) {
            Ok(read) => (read == length).then_some(&*self.taken),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The next whole record: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &[u8])> {
        let tag = self.take(1)?[0];
        let length = self.word()? as usize;
        // The checksum stands behind it.
        let (payload, sum) = self.take(length + 4)?.split_last_chunk()?;
        (checksum(tag, payload) == u32::from_le_bytes(*sum)).then_some((tag, payload))
    }
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

fn functions(payload: &[u8]) -> Option<(u32, Vec<CompiledFunction>)> {
    let mut cursor = Cursor(payload);
    let id = cursor.small()?;
    let count = cursor.count()?;
    let mut functions = Vec::with_capacity(count);
    for _ in 0..count {
        let start = cursor.small()?;
        let range: TextRange = start..start.checked_add(cursor.small()?)?;
        let kind = match cursor.small()? {
            0 => CodeKind::Trampoline,
            index => CodeKind::Function(index - 1),
        };
        let name = Some(cursor.text()?).filter(|name| !name.is_empty());
        functions.push(CompiledFunction { range, kind, name });
    }
    functions.sort_by_key(|function| function.range.start);
    Some((id, functions))
}

fn address_map(payload: &[u8]) -> Option<(u32, AddressMap)> {
    let mut cursor = Cursor(payload);
    let id = cursor.small()?;
    let count = cursor.count()?;
    let mut entries = Vec::with_capacity(count);
    let (mut offset, mut place) = (0u64, 0i64);
    for _ in 0..count {
        let step = cursor.number()?;
        offset = offset.checked_add(step >> 1)?;
        let position = if step & 1 == 1 {
            None
        } else {
            place = place.checked_add(cursor.signed()?)?;
            Some(ModulePc(u32::try_from(place).ok()?))
        };
        entries.push((u32::try_from(offset).ok()?, position));
    }
    Some((id, AddressMap::new(entries)))
}

fn frames(payload: &[u8], out: &mut Vec<RawFrame>) -> Option<()> {
    let mut cursor = Cursor(payload);
    while !cursor.is_empty() {
        out.push(RawFrame { object: ObjectId(cursor.small()?), address: cursor.number()? });
    }
    Some(())
}

fn names(payload: &[u8], out: &mut BTreeMap<u32, Arc<str>>) -> Option<()> {
    // Many frames of few functions.
    let mut known: HashSet<Arc<str>, FxBuildHasher> = HashSet::default();
    let mut cursor = Cursor(payload);
    while !cursor.is_empty() {
        let (frame, name) = (cursor.small()?, cursor.text()?);
        let name = known.get(name.as_str()).cloned().unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            known.insert(Arc::clone(&name));
            name
        });
        out.insert(frame, name);
    }
    Some(())
}

fn samples(payload: &[u8], known: usize, out: &mut Vec<SampleRow>) -> Option<()> {
    let mut cursor = Cursor(payload);
    let mut time = 0u64;
    while !cursor.is_empty() {
        time = time.wrapping_add(cursor.signed()? as u64);
        let tid = cursor.small()?;
        let stack = cursor.small().filter(|stack| (*stack as usize) < known)?;
        out.push(SampleRow { time, tid, stack, weight: cursor.number()? });
    }
    Some(())
}

fn described(payload: &[u8], out: &mut Timeline) -> Option<()> {
    let mut cursor = Cursor(payload);
    while !cursor.is_empty() {
        let (time, address, size) = (cursor.number()?, cursor.number()?, cursor.number()?);
        let name = cursor.text()?;
        let count = cursor.count()?;
        let (mut offset, mut file) = (0u64, Arc::<str>::from(""));
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            offset = offset.checked_add(cursor.number()?)?;
            let line = cursor.small()?;
            let name = cursor.text()?;
            if !name.is_empty() {
                file = name.into();
            }
            lines.push(JitLine { offset, file: Arc::clone(&file), line });
        }
        out.add(address, size, time, None, JitCode { name, lines });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Info, Stack, Summary, WasmInfo, Writer};
    use super::*;
    use crate::target::space::{JIT, UNKNOWN};
    use crate::unwind::End;

    fn file() -> Vec<u8> {
        let mut out = Vec::new();
        let info = Info { recorder: "wasmprof".into(), pid: 7, ..Info::default() };
        let mut writer = Writer::new(&mut out, &info).unwrap();
        let id = ObjectId(2);
        writer
            .object(id, &ObjectInfo::Wasm(WasmInfo { filters: vec!["token".into()], ..WasmInfo::default() }))
            .unwrap();
        let function = |range: TextRange, kind, name: Option<&str>| CompiledFunction {
            range,
            kind,
            name: name.map(str::to_owned),
        };
        let functions = [
            function(0..16, CodeKind::Function(3), Some("is_prime")),
            function(16..32, CodeKind::Trampoline, None),
        ];
        writer.functions(id, &functions).unwrap();
        writer
            .address_map(
                id,
                &AddressMap::new(vec![(0, Some(ModulePc(99))), (4, None), (8, Some(ModulePc(7)))]),
            )
            .unwrap();
        writer.module(ModuleHash([1; 32]), b"\0asm").unwrap();
        writer
            .frames(&[
                RawFrame { object: id, address: 5 },
                RawFrame { object: ObjectId(0), address: u64::MAX },
                RawFrame { object: UNKNOWN, address: 0x7f0c },
            ])
            .unwrap();
        writer.stacks(&[Stack { frames: vec![0, 1, 2], end: End::Root }]).unwrap();
        let sample = |time| SampleRow { time, tid: 9, stack: 0, weight: 10_101_010 };
        writer.samples(&[sample(1_000), sample(900)]).unwrap();
        writer.thread(9, "[ET_NET 0]").unwrap();
        let mut described = Timeline::default();
        let file: Arc<str> = "a.rs".into();
        let line = |offset, line| JitLine { offset, file: Arc::clone(&file), line };
        let lines = vec![line(4, 42), line(10, 43)];
        described.add(0x7f00, 16, 0, None, JitCode { name: "half".into(), lines });
        writer.described(&described, 0).unwrap();
        writer.names([(1, "schedule")].into_iter()).unwrap();
        writer.summary(&Summary { samples: 2, ..Summary::default() }).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let recording = Recording::parse(&file()).unwrap();
        assert_eq!(recording.info.pid, 7);
        assert_eq!(recording.functions[&2][0].name.as_deref(), Some("is_prime"));
        assert_eq!(recording.functions[&2][1].kind, CodeKind::Trampoline);
        assert_eq!(
            recording.address_maps[&2].entries(),
            [(0, Some(ModulePc(99))), (4, None), (8, Some(ModulePc(7)))]
        );
        assert_eq!(recording.frames[1].address, u64::MAX);
        assert_eq!(recording.samples.iter().map(|sample| sample.time).collect::<Vec<_>>(), [1_000, 900]);
        assert_eq!(recording.weight(), 20_202_020);
        assert_eq!(&*recording.names[&1], "schedule");
        let mut frames = Vec::new();
        recording.stacks.get(recording.samples[0].stack, &mut frames);
        let frame = recording.frames[frames[2] as usize];
        assert_eq!((frame.object, frame.address), (JIT, 12), "unknown code is described");
        let code = &recording.jit[0];
        assert_eq!((code.name.as_str(), code.line_at(12)), ("half", code.lines.get(1)));
        assert_eq!((&*code.lines[1].file, code.lines[1].line), ("a.rs", 43));
        assert_eq!(recording.summary.map(|summary| summary.samples), Some(2));
    }

    #[test]
    fn a_torn_file_is_read_up_to_the_tear() {
        let whole = file();
        let mut most = 0;
        for end in 0..whole.len() {
            match Recording::parse(&whole[..end]) {
                Ok(recording) => {
                    most = most.max(recording.samples.len());
                    assert!(recording.summary.is_none(), "{end} bytes");
                }
                Err(ReadError::Empty | ReadError::NotARecording) => {}
                Err(error) => panic!("{end} bytes: {error}"),
            }
        }
        assert_eq!(most, 2, "the samples are there although the end is not");
    }

    /// Where each record of a file begins, behind its magic and its version.
    fn starts(file: &[u8]) -> Vec<usize> {
        let mut starts = vec![MAGIC.len() + 4];
        while let Some(start) = starts.last().copied().filter(|start| *start < file.len()) {
            let length = u32::from_le_bytes(file[start + 1..start + 5].try_into().unwrap());
            // Tag, length, payload, checksum.
            starts.push(start + 1 + 4 + length as usize + 4);
        }
        assert_eq!(starts.pop(), Some(file.len()));
        starts
    }

    /// A record with a byte that has changed is not read, and neither is what follows it.
    #[test]
    fn no_byte_that_changes_is_believed() {
        let read = |bytes: &[u8]| format!("{:?}", Recording::parse(bytes));
        let whole = file();
        let starts = starts(&whole);
        assert_eq!(starts.len(), 12);
        for (number, start) in starts.iter().enumerate() {
            let before = read(&whole[..*start]);
            let end = starts.get(number + 1).copied().unwrap_or(whole.len());
            assert_ne!(before, read(&whole[..end]), "record {number} says something");
            for at in *start..end {
                for change in [1, 0x80, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= change;
                    assert_eq!(read(&bytes), before, "byte {at} of record {number}");
                }
            }
        }
        let mut other = whole;
        other[8] = 1;
        assert!(matches!(Recording::parse(&other), Err(ReadError::Version(1))));
        other[0] ^= 1;
        assert!(matches!(Recording::parse(&other), Err(ReadError::NotARecording)));
    }
}
