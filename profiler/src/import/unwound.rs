//! Stacks from what `perf record --call-graph dwarf` keeps of each sample: registers and the top of the stack. Unwound as
//! when wasmprof records.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::Regions;
use super::sample::User;
use crate::code::timeline::Timeline;
use crate::limits::{self, Budget, Notes};
use crate::recording::ObjectInfo;
use crate::target::host::UnwindTables;
use crate::target::space::{HostObject, Object, ObjectId, Piece, Space, UNKNOWN};
use crate::unwind::{CODE, End, Frames, Walker};

/// Unwinds samples of any number of processes.
pub(super) struct Unwinder {
    processes: HashMap<i32, Process>,
    /// Files by their numbers in the recording.
    objects: HashMap<ObjectId, Option<Object>>,
    numbers: Vec<u32>,
    /// Of unwind tables.
    budget: Budget,
    /// A file whose tables there was no room for.
    cut: Option<String>,
}

impl Default for Unwinder {
    fn default() -> Self {
        let (processes, objects, numbers) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { processes, objects, numbers, budget: limits::TABLES, cut: None }
    }
}

struct Process {
    /// See [`Regions::changes`].
    changes: u32,
    /// A piece for each region, in their order; its number is that of the region and [`FIRST`].
    space: Space,
    walker: Walker,
    frames: Frames,
}

/// Behind the numbers that mean something else.
const FIRST: u32 = UNKNOWN.0 + 1;

impl Unwinder {
    /// Says what was left out.
    pub(super) fn note(&self, notes: &mut Notes) {
        if let Some(path) = &self.cut {
            let most = limits::TABLES;
            notes.add(&format!(
                "{path}: its unwind tables are left out, and so are callers of its code: at most {most} are read"
            ));
        }
    }

    /// The kernel's code in a process, by its number in the recording.
    pub(super) fn know_vdso(&mut self, id: ObjectId, bytes: &[u8], tables: UnwindTables) {
        let (path, bytes) = ("[vdso]".to_owned(), Some(bytes.to_vec()));
        let host = HostObject { path, reached: None, bytes, tables: Some(tables) };
        self.objects.insert(id, Some(Object::Host(Arc::new(host))));
    }

    /// Appends the addresses of a sample's frames as the kernel writes them into a call chain: where the innermost one was, then
    /// where each caller goes on. Says why they end.
    pub(super) fn unwind(
        &mut self,
        pid: i32,
        regions: &Regions,
        files: &BTreeMap<u32, ObjectInfo>,
        (user, time): (&User<'_>, u64),
        timeline: &Timeline,
        out: &mut Vec<u64>,
    ) -> End {
        let Self { processes, objects, numbers, budget, cut } = self;
        let process = match processes.get_mut(&pid) {
            Some(process) if process.changes == regions.changes => process,
            _ => {
                let process = Process::new(regions, |id| {
                    objects.entry(id).or_insert_with(|| read(files.get(&id.0)?, budget, cut)).clone()
                });
                processes.entry(pid).insert_entry(process).into_mut()
            }
        };
        let Process { space, walker, frames, .. } = process;
        walker.follow_frame_pointers(!timeline.codes().is_empty());
        numbers.clear();
        let code = |address| code_at(timeline, address, time);
        let end = walker.walk(space, user.registers, user.stack, code, frames, numbers);
        for (depth, number) in numbers.iter().enumerate() {
            let frame = frames.list()[*number as usize];
            let piece = frame.object.0.checked_sub(FIRST).and_then(|at| space.pieces().get(at as usize));
            let address = frame.address.wrapping_add(piece.map_or(0, |piece| piece.bias));
            out.push(address.wrapping_add(u64::from(depth > 0)));
        }
        end
    }
}

impl Process {
    fn new(regions: &Regions, mut object: impl FnMut(ObjectId) -> Option<Object>) -> Self {
        let piece = |(index, (start, region)): (usize, (&u64, &super::Region))| {
            let object = if region.id == UNKNOWN { None } else { object(region.id) };
            Piece { range: *start..region.end, id: ObjectId(index as u32 + FIRST), bias: region.bias, object }
        };
        let pieces = regions.by_start.iter().enumerate().map(piece).collect();
        Self {
            changes: regions.changes,
            space: Space::of(pieces),
            walker: Walker::default(),
            frames: Frames::default(),
        }
    }
}

/// A file as something to unwind; none when it holds compiled modules, whose code keeps frame pointers.
fn read(file: &ObjectInfo, budget: &mut Budget, cut: &mut Option<String>) -> Option<Object> {
    let ObjectInfo::Host { path, reached, .. } = file else { return None };
    let tables = reached.as_ref().and_then(|reached| UnwindTables::read(Path::new(reached), budget).ok());
    if tables.as_ref().is_some_and(|tables| tables.segments.is_empty()) {
        return None;
    }
    if tables.as_ref().is_some_and(|tables| tables.is_cut) {
        *cut = Some(path.clone());
    }
    let (path, reached) = (path.clone(), reached.as_ref().map(Into::into));
    Some(Object::Host(Arc::new(HostObject { path, reached, bytes: None, tables })))
}

/// The bytes from `address`, the one before an instruction, on, as a jitdump has them. What lies outside of the function is 0.
fn code_at(timeline: &Timeline, address: u64, time: u64) -> Option<[u8; CODE]> {
    let (number, offset) = timeline.number_at(address.wrapping_add(1), time)?;
    let bytes = timeline.bytes(number)?;
    let at = |distance: usize| {
        let index = usize::try_from(offset).ok()?.checked_add(distance)?.checked_sub(1)?;
        bytes.get(index).copied()
    };
    Some(std::array::from_fn(|distance| at(distance).unwrap_or(0)))
}
