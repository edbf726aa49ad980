//! The stacks that were seen, each once, and what they count for.

use std::collections::HashMap;
use std::io::{self, Write};

use rustc_hash::FxBuildHasher;

use super::code::Code;
use crate::code::name::{DescribedKind, DescribedName};
use crate::recording::{Stack, Writer};
use crate::target::space::UNKNOWN;
use crate::unwind::{End, Frames};

/// Samples, by what their stacks have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) samples: u64,
    /// Whose innermost frame is of unknown code.
    pub(super) unresolved: u64,
    /// With frames of a module.
    pub(super) wasm: u64,
    /// Those of them whose stacks are whole.
    pub(super) wasm_rooted: u64,
}

/// A stack that was seen before.
#[derive(Clone, Copy)]
struct KnownStack {
    number: u32,
    /// It has frames of a module.
    wasm: bool,
    /// It has frames of unknown code.
    unknown: bool,
    /// Its innermost frame is of unknown code.
    unresolved: bool,
}

/// See [`Stacks::unknown`].
struct UnknownStack {
    frames: Box<[u32]>,
    end: End,
    /// Of its first sample.
    time: u64,
    /// Samples.
    count: u64,
    /// It has frames of a module that is known.
    wasm: bool,
}

/// All stacks of a recording.
#[derive(Default)]
pub(super) struct Stacks {
    /// Their frames.
    pub(super) frames: Frames,
    frames_written: usize,
    /// By the numbers of their frames, and why they end.
    known: HashMap<Box<[u32]>, KnownStack, FxBuildHasher>,
    new: Vec<Stack>,
    /// Stacks with frames of unknown code, which may be described later.
    unknown: HashMap<u32, UnknownStack, FxBuildHasher>,
    tally: Tally,
}

impl Stacks {
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts a sample of the stack of these frames and gives the stack's number. Leaves the end behind the frames.
    pub(super) fn count(&mut self, key: &mut Vec<u32>, end: End, time: u64, code: &Code<'_>) -> u32 {
        self.tally.samples += 1;
        // The same frames with another end are another stack.
        key.push(end as u32);
        let known = self.known.get(key.as_slice()).copied();
        let stack = known.unwrap_or_else(|| self.add(key, end, code));
        self.tally.unresolved += u64::from(stack.unresolved);
        self.count_wasm(stack.wasm, end, 1);
        if stack.unknown {
            let frames = &key[..key.len() - 1];
            let new = || UnknownStack { frames: frames.into(), end, time, count: 0, wasm: stack.wasm };
            self.unknown.entry(stack.number).or_insert_with(new).count += 1;
        }
        stack.number
    }

    /// `key` is the frames and the end.
    fn add(&mut self, key: &[u32], end: End, code: &Code<'_>) -> KnownStack {
        let frames = &key[..key.len() - 1];
        let objects = || frames.iter().map(|frame| self.frames.list()[*frame as usize].object);
        let stack = KnownStack {
            number: self.known.len() as u32,
            wasm: objects().any(|object| code.is_module(object)),
            unknown: objects().any(|object| object == UNKNOWN),
            unresolved: objects().next().is_none_or(|object| object == UNKNOWN),
        };
        self.known.insert(key.into(), stack);
        self.new.push(Stack { frames: frames.to_vec(), end });
        stack
    }

    /// Takes what is described into account, once all of it is known: frames keep their addresses, and the
    /// reader of the recording names them.
    pub(super) fn count_described(&mut self, code: &Code<'_>) {
        if !code.is_described() {
            return;
        }
        for stack in std::mem::take(&mut self.unknown).into_values() {
            let kind = |index: &u32| {
                let frame = self.frames.list()[*index as usize];
                let name = code.name_at(frame.address, stack.time)?;
                (frame.object == UNKNOWN).then(|| DescribedName::parse(name).kind)
            };
            let resolved = stack.frames.first().is_some_and(|index| kind(index).is_some());
            let is_module = |index| kind(index).is_some_and(|kind| kind != DescribedKind::Engine);
            let wasm = !stack.wasm && stack.frames.iter().any(is_module);
            self.tally.unresolved -= if resolved { stack.count } else { 0 };
            self.count_wasm(wasm, stack.end, stack.count);
        }
    }

    fn count_wasm(&mut self, wasm: bool, end: End, samples: u64) {
        if wasm {
            self.tally.wasm += samples;
            self.tally.wasm_rooted += if end == End::Root { samples } else { 0 };
        }
    }

    /// Writes frames, and then stacks, that are new.
    pub(super) fn write<W: Write>(&mut self, writer: &mut Writer<W>) -> io::Result<()> {
        let frames = self.frames.list();
        if self.frames_written < frames.len() {
            writer.frames(&frames[self.frames_written..])?;
            self.frames_written = frames.len();
        }
        if !self.new.is_empty() {
            writer.stacks(&std::mem::take(&mut self.new))?;
        }
        Ok(())
    }
}
