//! The code of the target: what is mapped, what describes the rest, when it is looked at again, and the way from
//! registers to the stack that runs it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use wasmdbg_control::ModuleHash;

use crate::code::image::Image;
use crate::descriptions::Descriptions;
use crate::host_names::{self, Source};
use crate::limits::{Cancel, Notes};
use crate::modules::Modules;
use crate::recording::{ObjectInfo, Writer};
use crate::target::Target;
use crate::target::space::{Object, ObjectId, Space, WasmObject};
use crate::unwind::{CODE, End, Frames, Registers, Walker};

/// Code without a known origin is looked for again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What is known of the target's code.
pub(super) struct Code<'a> {
    target: &'a Target,
    descriptions: &'a mut Descriptions,
    space: Space,
    walker: Walker,
    objects: HashMap<ObjectId, Object>,
    /// Objects that are not in the file yet.
    new: Vec<(ObjectId, Object)>,
    /// Images seen at one address.
    generations: HashMap<u64, u32>,
    written_modules: Vec<ModuleHash>,
    /// Executable memory has changed since the last look.
    changed: bool,
    looked: Instant,
    /// How long the last look took: the next one waits as long, or a target that changes its memory all the time
    /// would leave no time for samples.
    took: Duration,
    cancel: Cancel,
}

impl<'a> Code<'a> {
    pub(super) fn new(target: &'a Target, descriptions: &'a mut Descriptions, cancel: Cancel) -> Self {
        Self {
            target,
            descriptions,
            space: Space::new(),
            walker: Walker::default(),
            objects: HashMap::new(),
            new: Vec::new(),
            generations: HashMap::new(),
            written_modules: Vec::new(),
            changed: false,
            looked: Instant::now(),
            took: Duration::ZERO,
            cancel,
        }
    }

    pub(super) fn target(&self) -> &'a Target {
        self.target
    }

    /// What was left out of it.
    pub(super) fn notes(&self) -> &Notes {
        self.space.notes()
    }

    /// Whether anything names code that is no known module's.
    pub(super) fn is_described(&self) -> bool {
        !self.descriptions.is_empty()
    }

    /// What names the code at an address at a time.
    pub(super) fn name_at(&self, address: u64, time: u64) -> Option<&str> {
        self.descriptions.name_at(address, time)
    }

    pub(super) fn is_module(&self, object: ObjectId) -> bool {
        matches!(self.objects.get(&object), Some(Object::Wasm(_)))
    }

    /// Takes images that the target does not let us read from somebody else.
    pub(super) fn serve(&mut self, images: impl IntoIterator<Item = (u64, Image)>) {
        images.into_iter().for_each(|(address, image)| self.space.serve(address, image));
    }

    /// Executable memory may have changed.
    pub(super) fn has_changed(&mut self) {
        self.changed = true;
    }

    /// Looks at what is mapped now.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        self.changed = false;
        let start = Instant::now();
        let new = &mut self.new;
        let result =
            self.space.refresh(self.target, &self.cancel, |id, object| new.push((id, object.clone())));
        for (id, object) in &self.new {
            self.objects.entry(*id).or_insert_with(|| object.clone());
        }
        self.look_for_descriptions();
        self.looked = Instant::now();
        self.took = self.looked - start;
        result
    }

    /// Looks again if memory has changed and there is time for it.
    pub(super) fn refresh_if_changed(&mut self) {
        if self.changed && self.looked.elapsed() >= self.took && !self.cancel.is_cancelled() {
            // The process may have ended meanwhile: what is known stays.
            let _ = self.refresh();
        }
    }

    fn refresh_if_unknown(&mut self, address: u64) {
        let piece = self.space.find(address);
        let known = piece.is_some_and(|piece| piece.object.is_some() || !self.descriptions.is_empty());
        let pause = LOOK_AGAIN.max(self.took);
        if !known && self.looked.elapsed() > pause && !self.cancel.is_cancelled() {
            let _ = self.refresh();
        }
    }

    /// Reads what has come to describe code.
    pub(super) fn look_for_descriptions(&mut self) {
        self.descriptions.look(self.target, self.space.jitdumps(), &self.cancel);
        self.walker.follow_frame_pointers(!self.descriptions.is_empty());
    }

    /// Reads all that describes code, however long it takes: no sample waits any more.
    pub(super) fn read_descriptions(&mut self) {
        self.cancel = Cancel::default();
        self.look_for_descriptions();
        self.descriptions.read_again();
    }

    /// Appends the frames of a stack to `out`, by their numbers in `frames`, and says why they end.
    pub(super) fn walk(
        &mut self,
        registers: Registers,
        stack: &[u8],
        frames: &mut Frames,
        out: &mut Vec<u32>,
    ) -> End {
        self.refresh_if_unknown(registers.ip);
        let code = |address| self.target.read(address, CODE).try_into().ok();
        self.walker.walk(&self.space, registers, stack, code, frames, out)
    }

    /// Names of the functions of the host.
    pub(super) fn host_names(&self, frames: &Frames, notes: &mut Notes) -> Vec<(u32, String)> {
        let source = |object| match self.objects.get(&object) {
            Some(Object::Host(host)) => match (&host.reached, &host.bytes) {
                (Some(path), _) => Some(Source::File(path)),
                (None, Some(bytes)) => Some(Source::Bytes(bytes)),
                (None, None) => None,
            },
            _ => None,
        };
        let frames = frames.list().iter().enumerate().map(|(index, frame)| (index as u32, *frame));
        host_names::names(frames, source, notes)
    }

    /// Writes the objects that are new, with what is known of them, and what describes other code. `seen`: the time of
    /// the last sample.
    pub(super) fn write<W: Write>(
        &mut self,
        modules: &mut Modules,
        seen: u64,
        writer: &mut Writer<W>,
    ) -> io::Result<()> {
        for (id, object) in std::mem::take(&mut self.new) {
            match object {
                Object::Host(host) => {
                    let reached = host.reached.as_ref().map(|path| path.display().to_string());
                    let build_id = host.tables.as_ref().and_then(|tables| tables.build_id.clone());
                    writer.object(id, &ObjectInfo::Host { path: host.path.clone(), reached, build_id })?;
                }
                Object::Wasm(wasm) => self.write_module(id, &wasm, modules, seen, writer)?,
            }
        }
        self.descriptions.take_new(|timeline, from| writer.described(timeline, from))
    }

    fn write_module<W: Write>(
        &mut self,
        id: ObjectId,
        wasm: &WasmObject,
        modules: &mut Modules,
        seen: u64,
        writer: &mut Writer<W>,
    ) -> io::Result<()> {
        let mut identity = modules.identify(&wasm.image, wasm.base + wasm.image.text.start);
        let generation = self.generations.entry(wasm.base).or_default();
        identity.info.generation = *generation;
        identity.info.seen = seen;
        *generation += 1;
        if let Some((hash, bytes)) = &identity.module
            && !self.written_modules.contains(hash)
        {
            self.written_modules.push(*hash);
            writer.module(*hash, bytes)?;
            if let Some(bytes) = &identity.debug_file {
                writer.debug_file(*hash, bytes)?;
            }
        }
        writer.object(id, &ObjectInfo::Wasm(identity.info))?;
        writer.functions(id, &wasm.image.functions)?;
        match &wasm.image.address_map {
            Ok(map) => writer.address_map(id, map),
            Err(_) => Ok(()),
        }
    }
}
