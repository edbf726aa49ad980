//! Writes a recording, record by record: what was written is whole, whatever happens to the writer.

use std::io::{self, Write};

use serde::Serialize;
use wasmdbg_control::{ModuleHash, ModulePc};

use super::bytes::{checksum, put, put_signed, put_text};
use super::{Info, MAGIC, ObjectInfo, SampleRow, Stack, Summary, VERSION, stacks};
use crate::code::address_map::AddressMap;
use crate::code::image::{CodeKind, CompiledFunction};
use crate::code::timeline::Timeline;
use crate::target::space::ObjectId;
use crate::unwind::RawFrame;

/// Tags of records.
pub(super) mod tag {
    pub(crate) const INFO: u8 = 1;
    pub(crate) const OBJECT: u8 = 2;
    pub(crate) const FUNCTIONS: u8 = 3;
    pub(crate) const ADDRESS_MAP: u8 = 4;
    pub(crate) const MODULE: u8 = 5;
    pub(crate) const FRAMES: u8 = 6;
    pub(crate) const STACKS: u8 = 7;
    pub(crate) const SAMPLES: u8 = 8;
    pub(crate) const THREAD: u8 = 9;
    pub(crate) const NAMES: u8 = 10;
    pub(crate) const SUMMARY: u8 = 11;
    pub(crate) const DEBUG_FILE: u8 = 12;
    pub(crate) const DESCRIBED: u8 = 13;
}

/// See the module.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    info: Info,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut out: W, info: &Info) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut writer = Self { out, info: info.clone(), buffer: Vec::new() };
        writer.json(tag::INFO, info)?;
        Ok(writer)
    }

    /// What the kernel granted, which may be less than what was asked for: whether it is sampled itself, and
    /// samples a second.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn sampled(&mut self, kernel: bool, frequency: u64) -> io::Result<()> {
        if (self.info.kernel, self.info.frequency) == (kernel, frequency) {
            return Ok(());
        }
        self.info = Info { kernel, frequency, ..std::mem::take(&mut self.info) };
        let text = serde_json::to_vec(&self.info)?;
        self.record(tag::INFO, &text)
    }

    fn record(&mut self, tag: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a record of more than 4 GiB"))?;
        let mut head = [tag; 5];
        head[1..].copy_from_slice(&length.to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(payload)?;
        self.out.write_all(&checksum(tag, payload).to_le_bytes())
    }

    fn json<T: Serialize>(&mut self, tag: u8, value: &T) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.record(tag, &text)
    }

    /// Writes what `fill` puts into a buffer that is used again and again.
    fn packed(&mut self, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        fill(&mut buffer);
        let result = self.record(tag, &buffer);
        self.buffer = buffer;
        result
    }

    /// An object; a later one with the same number replaces it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn object(&mut self, id: ObjectId, info: &ObjectInfo) -> io::Result<()> {
        self.json(tag::OBJECT, &(id.0, info))
    }

    /// The functions of a compiled module.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn functions(&mut self, id: ObjectId, functions: &[CompiledFunction]) -> io::Result<()> {
        self.packed(tag::FUNCTIONS, |out| {
            put(out, id.0.into());
            put(out, functions.len() as u64);
            for function in functions {
                put(out, function.range.start.into());
                put(out, (function.range.end - function.range.start).into());
                put(
                    out,
                    match function.kind {
                        CodeKind::Function(index) => u64::from(index) + 1,
                        CodeKind::Trampoline => 0,
                    },
                );
                put_text(out, function.name.as_deref().unwrap_or_default());
            }
        })
    }

    /// The address map of a compiled module.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn address_map(&mut self, id: ObjectId, map: &AddressMap) -> io::Result<()> {
        self.packed(tag::ADDRESS_MAP, |out| {
            put(out, id.0.into());
            put(out, map.entries().len() as u64);
            let (mut offset, mut place) = (0, 0);
            for (next, position) in map.entries() {
                put(out, (u64::from(*next) - offset) << 1 | u64::from(position.is_none()));
                offset = u64::from(*next);
                if let Some(ModulePc(position)) = *position {
                    put_signed(out, i64::from(position) - place);
                    place = i64::from(position);
                }
            }
        })
    }

    /// A module.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn module(&mut self, hash: ModuleHash, bytes: &[u8]) -> io::Result<()> {
        self.blob(tag::MODULE, hash, bytes)
    }

    /// An unstripped copy of a module, or its source map.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn debug_file(&mut self, of: ModuleHash, bytes: &[u8]) -> io::Result<()> {
        self.blob(tag::DEBUG_FILE, of, bytes)
    }

    fn blob(&mut self, tag: u8, hash: ModuleHash, bytes: &[u8]) -> io::Result<()> {
        self.packed(tag, |out| {
            out.extend_from_slice(&hash.0);
            out.extend_from_slice(bytes);
        })
    }

    /// More distinct frames.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn frames(&mut self, frames: &[RawFrame]) -> io::Result<()> {
        self.packed(tag::FRAMES, |out| {
            for frame in frames {
                put(out, frame.object.0.into());
                put(out, frame.address);
            }
        })
    }

    /// More distinct stacks.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stacks(&mut self, stacks: &[Stack]) -> io::Result<()> {
        self.packed(tag::STACKS, |out| {
            stacks.iter().for_each(|stack| stacks::write(out, &stack.frames, stack.end));
        })
    }

    /// More samples.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn samples(&mut self, samples: &[SampleRow]) -> io::Result<()> {
        self.packed(tag::SAMPLES, |out| {
            let mut time = 0;
            for sample in samples {
                put_signed(out, sample.time.wrapping_sub(time) as i64);
                time = sample.time;
                put(out, sample.tid.into());
                put(out, sample.stack.into());
                put(out, sample.weight);
            }
        })
    }

    /// Code that another program described: everything in `timeline` from its load `from` on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn described(&mut self, timeline: &Timeline, from: usize) -> io::Result<()> {
        self.packed(tag::DESCRIBED, |out| {
            for load in &timeline.loads()[from..] {
                let code = &timeline.codes()[load.code as usize];
                put(out, load.time);
                put(out, load.address);
                put(out, load.size);
                put_text(out, &code.name);
                put(out, code.lines.len() as u64);
                let (mut offset, mut file) = (0, "");
                for line in &code.lines {
                    put(out, line.offset - offset);
                    offset = line.offset;
                    put(out, line.line.into());
                    // Nothing stands for the file before.
                    put_text(out, if *line.file == *file { "" } else { &line.file });
                    file = &line.file;
                }
            }
        })
    }

    /// The name of a thread.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn thread(&mut self, tid: u32, name: &str) -> io::Result<()> {
        self.json(tag::THREAD, &(tid, name))
    }

    /// Names of frames by their index.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn names<'n>(&mut self, names: impl Iterator<Item = (u32, &'n str)>) -> io::Result<()> {
        self.packed(tag::NAMES, |out| {
            for (frame, name) in names {
                put(out, frame.into());
                put_text(out, name);
            }
        })
    }

    /// The end.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.json(tag::SUMMARY, summary)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
