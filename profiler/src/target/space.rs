//! The target's address space as code: which piece of which object lies where, now. Objects keep their
//! number for ever, so that code put in the place of other code is told apart by time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::process::{Region, Target};
use crate::code::image::{self, Image};
use crate::limits::{self, Budget, Cancel, Notes};
use crate::target::host::UnwindTables;

/// The number of an object in a recording; 0 is the kernel, 1 code of unknown origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

/// The kernel.
pub const KERNEL: ObjectId = ObjectId(0);
/// Memory that is no file and no compiled module, or no code at all.
pub const UNKNOWN: ObjectId = ObjectId(1);

/// Code that a jitdump or a perf map described, in a recording that has been read.
pub const JIT: ObjectId = ObjectId(u32::MAX);

/// Something that holds code.
#[derive(Debug, Clone)]
pub enum Object {
    /// An ELF file of the host.
    Host(Arc<HostObject>),
    /// A compiled module.
    Wasm(Arc<WasmObject>),
}

/// See [`Object::Host`].
#[derive(Debug)]
pub struct HostObject {
    /// Path in the target's file system.
    pub path: String,
    /// Where this process reads it; none when it is gone.
    pub reached: Option<PathBuf>,
    /// The vdso, which is no file.
    pub bytes: Option<Vec<u8>>,
    /// How to unwind it, if it could be read.
    pub tables: Option<UnwindTables>,
}

/// See [`Object::Wasm`].
#[derive(Debug)]
pub struct WasmObject {
    /// Address of the image.
    pub base: u64,
    /// What it holds.
    pub image: Image,
}

/// A range of addresses with one kind of code.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Addresses.
    pub range: Range<u64>,
    /// Whose code it is.
    pub id: ObjectId,
    /// What to subtract from an address to get the object's own: the file's address for a host object,
    /// the offset in the text for a module.
    pub bias: u64,
    /// The object; none for memory of unknown origin.
    pub object: Option<Object>,
}

/// See the module.
#[derive(Debug)]
pub struct Space {
    pieces: Vec<Piece>,
    next: u32,
    /// Host files by path and inode.
    files: HashMap<(String, u64), (ObjectId, Arc<HostObject>)>,
    /// Images by the address and the first bytes of their code.
    images: HashMap<(u64, u64), (ObjectId, Arc<WasmObject>)>,
    /// Images that somebody else read.
    served: Vec<(ObjectId, Arc<WasmObject>)>,
    /// Mappings of jitdumps, by which their writers make them known.
    jitdumps: Vec<Region>,
    /// Headers of images that could not be read, by their addresses: each is tried once.
    refused: HashSet<(u64, Vec<u8>)>,
    /// Regions of the last look that have no header.
    bare: HashSet<Bare>,
    limits: Limits,
    notes: Notes,
    /// Counts the changes.
    generation: u64,
}

/// What may be read and kept of a target.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of its compiled modules.
    pub images: Budget,
    /// Of the unwind tables of its files.
    pub tables: Budget,
    /// See [`limits::PROBES`].
    pub probes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { images: limits::IMAGES, tables: limits::TABLES, probes: limits::PROBES }
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

/// What a header that could not be read counts for, at least: a page.
const HEADER_COST: u64 = 4096;

impl Space {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::within(Limits::default())
    }

    /// As [`Space::new`], with limits of its own.
    #[must_use]
    pub fn within(limits: Limits) -> Self {
        Self {
            pieces: Vec::new(),
            next: 2,
            files: HashMap::new(),
            images: HashMap::new(),
            served: Vec::new(),
            jitdumps: Vec::new(),
            refused: HashSet::new(),
            bare: HashSet::new(),
            limits,
            notes: Notes::default(),
            generation: 0,
        }
    }

    /// What was left out, and why.
    #[must_use]
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Of these pieces, by rising address.
    pub(crate) fn of(pieces: Vec<Piece>) -> Self {
        Self { pieces, generation: 1, ..Self::new() }
    }

    /// The piece at an address.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Piece> {
        let end = self.pieces.partition_point(|piece| piece.range.start <= address);
        self.pieces[..end].last().filter(|piece| piece.range.contains(&address))
    }

    /// All pieces, by rising address.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Rises with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the target has mapped jitdumps.
    #[must_use]
    pub fn jitdumps(&self) -> &[Region] {
        &self.jitdumps
    }

    /// Takes an image that cannot be read from the target, whose text lies at `address` as long as the target
    /// lives.
    pub fn serve(&mut self, address: u64, image: Image) {
        if let Err(why) = self.limits.images.take(image.memory()) {
            self.notes.add(&format!("compiled code that the proxy gave is left out: {why}"));
            return;
        }
        let id = self.number();
        let base = address.wrapping_sub(image.text.start);
        self.served.push((id, Arc::new(WasmObject { base, image })));
    }

    /// Looks at the target anew. `new` gets every object that was not known before. Once `cancel` is cancelled, only
    /// what is known is.
    ///
    /// # Errors
    /// The target has ended.
    pub fn refresh(
        &mut self,
        target: &Target,
        cancel: &Cancel,
        mut new: impl FnMut(ObjectId, &Object),
    ) -> io::Result<()> {
        let regions = match target.regions() {
            // Who may not read the map may still know where some code lies.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !target.can_read() => Vec::new(),
            regions => regions?,
        };
        self.jitdumps.clear();
        self.jitdumps.extend(regions.iter().filter(|region| is_jitdump(region)).cloned());
        let bare = std::mem::take(&mut self.bare);
        let mut search = Search { probes: self.limits.probes, before: bare, bare: HashSet::new() };
        let mut pieces: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for (index, region) in regions.iter().enumerate().filter(|(_, region)| region.executable) {
            if pieces.last().is_some_and(|last| last.range.end >= region.end) {
                continue;
            }
            let found = if cancel.is_cancelled() {
                None
            } else if region.inode != 0 || region.path == "[vdso]" {
                self.host(target, region, &mut new)
                    .or_else(|| self.image(target, &regions, index, &mut search, &mut new))
            } else if region.path.is_empty() || region.path.starts_with("[anon") {
                self.image(target, &regions, index, &mut search, &mut new)
            } else {
                None
            };
            pieces.extend(found.unwrap_or_else(|| {
                vec![Piece { range: region.start..region.end, id: UNKNOWN, bias: 0, object: None }]
            }));
        }
        self.bare = search.bare;
        if search.probes == 0 {
            let most = self.limits.probes;
            self.notes.add(&format!("compiled code is left out: its header was not found at {most} places"));
        }
        if cancel.is_cancelled() {
            return Ok(());
        }
        self.add_served(&mut pieces, &mut new);
        let same = |old: &Piece, new: &Piece| old.range == new.range && old.id == new.id;
        let changed = pieces.len() != self.pieces.len()
            || self.pieces.iter().zip(&pieces).any(|(old, new)| !same(old, new));
        if changed {
            self.pieces = pieces;
            self.generation += 1;
        }
        Ok(())
    }

    /// Puts served images in the place of memory of unknown origin.
    fn add_served(&self, pieces: &mut Vec<Piece>, new: &mut impl FnMut(ObjectId, &Object)) {
        for (id, served) in &self.served {
            let start = served.base.wrapping_add(served.image.text.start);
            let range = start..start.wrapping_add(served.image.code.len() as u64);
            let object = Object::Wasm(Arc::clone(served));
            if !self.pieces.iter().any(|piece| piece.id == *id) {
                new(*id, &object);
            }
            let piece = Piece { range, id: *id, bias: start, object: Some(object) };
            let mut rest = Vec::new();
            pieces.retain(|other| {
                let overlaps = other.range.start < piece.range.end && piece.range.start < other.range.end;
                if overlaps && other.object.is_none() {
                    let parts = [other.range.start..piece.range.start, piece.range.end..other.range.end];
                    let left = parts.into_iter().filter(|part| !part.is_empty());
                    rest.extend(left.map(|range| Piece { range, ..other.clone() }));
                }
                !overlaps
            });
            pieces.extend(rest);
            pieces.push(piece);
        }
        pieces.sort_by_key(|piece| piece.range.start);
    }

    fn number(&mut self) -> ObjectId {
        self.next += 1;
        ObjectId(self.next - 1)
    }

    fn host(
        &mut self,
        target: &Target,
        region: &Region,
        new: &mut impl FnMut(ObjectId, &Object),
    ) -> Option<Vec<Piece>> {
        let key = (region.path.clone(), region.inode);
        let (id, object) = match self.files.get(&key) {
            Some((id, object)) => (*id, Arc::clone(object)),
            None => {
                let object = Arc::new(self.read_host(target, region)?);
                let id = self.number();
                new(id, &Object::Host(Arc::clone(&object)));
                self.files.insert(key, (id, Arc::clone(&object)));
                (id, object)
            }
        };
        let bias = match &object.tables {
            Some(tables) => tables.segments.bias(region.start, region.offset),
            None => region.start.wrapping_sub(region.offset),
        };
        let object = Some(Object::Host(object));
        Some(vec![Piece { range: region.start..region.end, id, bias, object }])
    }

    /// The module whose text begins in the region: its header is in the readable memory before it. Two
    /// images that lie side by side share a region, so a header need not be at a region's start.
    fn image(
        &mut self,
        target: &Target,
        regions: &[Region],
        index: usize,
        search: &mut Search,
        new: &mut impl FnMut(ObjectId, &Object),
    ) -> Option<Vec<Piece>> {
        let region = &regions[index];
        let before =
            regions[..index].last().filter(|before| before.end == region.start && before.readable)?;
        let first = target.read(region.start, 8);
        let mark = u64::from_le_bytes(first.try_into().ok()?);
        let known = self.images.get(&(region.start, mark)).cloned();
        let (id, object) = match known.filter(|(_, object)| is_same(target, object)) {
            Some(known) => known,
            None => {
                let base = search.header(target, before, region, mark)?;
                let object = Arc::new(WasmObject { base, image: self.read_image(target, base)? });
                let id = self.number();
                new(id, &Object::Wasm(Arc::clone(&object)));
                self.images.insert((region.start, mark), (id, Arc::clone(&object)));
                (id, object)
            }
        };
        let text = &object.image.text;
        let start = object.base + text.start;
        let range = start..object.base + text.end;
        Some(vec![Piece { range, id, bias: start, object: Some(Object::Wasm(object)) }])
    }

    /// What counts is what is kept of an image, or what was read in vain.
    fn read_image(&mut self, target: &Target, base: u64) -> Option<Image> {
        let header = target.read(base, image::HEADER);
        let size = image::size_from_header(&header)?;
        let key = (base, header);
        if self.refused.contains(&key) {
            return None;
        }
        let refused = match self.limits.images.check(size) {
            Ok(()) => {
                let bytes = target.read(base, usize::try_from(size).ok()?);
                match Image::parse(&bytes) {
                    Ok(image) => {
                        let memory = image.memory().max(HEADER_COST);
                        if let Err(why) = self.limits.images.check(memory) {
                            Some(why)
                        } else {
                            self.limits.images.count(memory);
                            return Some(image);
                        }
                    }
                    Err(_) => None,
                }
            }
            Err(why) => Some(why),
        };
        match refused {
            Some(why) => self.notes.add(&format!("compiled code at {base:#x} is left out: {why}")),
            None => self.limits.images.count(size.max(HEADER_COST)),
        }
        self.refused.insert(key);
        None
    }

    fn read_host(&mut self, target: &Target, region: &Region) -> Option<HostObject> {
        if region.path == "[vdso]" {
            let bytes = target.read(region.start, usize::try_from(region.end - region.start).ok()?);
            let tables = UnwindTables::from_bytes(&bytes).ok();
            return Some(HostObject { path: region.path.clone(), reached: None, bytes: Some(bytes), tables });
        }
        let reached = target.mapped_file(region);
        let tables = reached.as_ref().map(|path| UnwindTables::read(path, &mut self.limits.tables));
        if let Some(Ok(tables)) = &tables {
            if tables.segments.is_empty() {
                // A serialised module that wasmtime maps from its file is an image, not a library.
                return None;
            }
            if tables.is_cut {
                let (path, most) = (&region.path, &self.limits.tables);
                self.notes.add(&format!(
                    "{path}: its unwind tables are left out, and so are callers of its code: at most {most} are read"
                ));
            }
        }
        let path = region.path.clone();
        Some(HostObject { path, reached, bytes: None, tables: tables.and_then(Result::ok) })
    }
}

/// `jit-PID.dump`, mapped as executable.
fn is_jitdump(region: &Region) -> bool {
    let path = region.path.strip_suffix(" (deleted)").unwrap_or(&region.path);
    let name = path.rsplit('/').next().unwrap_or(path);
    region.executable && name.starts_with("jit-") && name.ends_with(".dump")
}

/// A region without a header: where the memory before it starts, its own addresses, and its first bytes.
type Bare = (u64, Range<u64>, u64);

/// For headers, in one look.
struct Search {
    /// What is left of [`Limits::probes`].
    probes: usize,
    /// What the look before this one found without a header.
    before: HashSet<Bare>,
    bare: HashSet<Bare>,
}

impl Search {
    /// The nearest image header before `region` whose text begins at the region.
    fn header(&mut self, target: &Target, before: &Region, region: &Region, mark: u64) -> Option<u64> {
        let key = (before.start, region.start..region.end, mark);
        let is_bare = self.before.contains(&key);
        let header = if is_bare { None } else { self.probe(target, before, region) };
        // One that ran out of probes may have one.
        if is_bare || (header.is_none() && self.probes > 0) {
            self.bare.insert(key);
        }
        header
    }

    fn probe(&mut self, target: &Target, before: &Region, region: &Region) -> Option<u64> {
        /// Headers lie close before the text; the rest of a shared region belongs to another image.
        const NEAR: u64 = 1 << 20;
        let page = 4096;
        let mut at = region.start.checked_sub(page)?;
        while at >= before.start && region.start - at <= NEAR {
            self.probes = self.probes.checked_sub(1)?;
            if image::is_image(&target.read(at, 8)) {
                return Some(at);
            }
            at = at.checked_sub(page)?;
        }
        // Deserialised images may have other sections first: the region's own start is tried too.
        image::is_image(&target.read(before.start, 8)).then_some(before.start)
    }
}

/// Whether the text that is there now is the one that was read: compared at a few places.
fn is_same(target: &Target, object: &WasmObject) -> bool {
    let code = &object.image.code;
    let start = object.base + object.image.text.start;
    [0, code.len() / 3, code.len() / 2, code.len().saturating_sub(64)].into_iter().all(|at| {
        let length = 64.min(code.len() - at);
        target.read(start + at as u64, length) == code[at..at + length]
    })
}
