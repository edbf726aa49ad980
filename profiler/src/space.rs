//! The target's address space as code: which piece of which object lies where, now. Objects keep their
//! number for ever, so that code put in the place of other code is told apart by time.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::code::image::{self, Image};
use crate::host::UnwindTables;
use crate::target::{Region, Target};

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
#[derive(Debug, Default)]
pub struct Space {
    pieces: Vec<Piece>,
    next: u32,
    /// Host files by path and inode.
    files: HashMap<(String, u64), (ObjectId, Arc<HostObject>)>,
    /// Images by address and the first bytes of their code.
    images: HashMap<(u64, u64), (ObjectId, Arc<WasmObject>)>,
    /// Images that somebody else read.
    served: Vec<(ObjectId, Arc<WasmObject>)>,
    /// Mappings of jitdumps, by which their writers make them known.
    jitdumps: Vec<Region>,
    /// Counts the changes.
    generation: u64,
}

/// No image is larger: a header that says so is damaged.
const LARGEST_IMAGE: u64 = 2 << 30;

impl Space {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self { next: 2, ..Self::default() }
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
        let id = self.number();
        let base = address.wrapping_sub(image.text.start);
        self.served.push((id, Arc::new(WasmObject { base, image })));
    }

    /// Looks at the target anew. `new` gets every object that was not known before.
    ///
    /// # Errors
    /// The target has ended.
    pub fn refresh(&mut self, target: &Target, mut new: impl FnMut(ObjectId, &Object)) -> io::Result<()> {
        let regions = match target.regions() {
            // Who may not read the map may still know where some code lies.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !target.can_read() => Vec::new(),
            regions => regions?,
        };
        self.jitdumps.clear();
        self.jitdumps.extend(regions.iter().filter(|region| is_jitdump(region)).cloned());
        let mut pieces: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for (index, region) in regions.iter().enumerate().filter(|(_, region)| region.executable) {
            if pieces.last().is_some_and(|last| last.range.end >= region.end) {
                continue;
            }
            let found = if region.inode != 0 || region.path == "[vdso]" {
                self.host(target, region, &mut new).or_else(|| self.image(target, &regions, index, &mut new))
            } else if region.path.is_empty() || region.path.starts_with("[anon") {
                self.image(target, &regions, index, &mut new)
            } else {
                None
            };
            pieces.extend(found.unwrap_or_else(|| {
                vec![Piece { range: region.start..region.end, id: UNKNOWN, bias: 0, object: None }]
            }));
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
            pieces.sort_by_key(|piece| piece.range.start);
        }
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
                let object = Arc::new(read_host(target, region)?);
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
        new: &mut impl FnMut(ObjectId, &Object),
    ) -> Option<Vec<Piece>> {
        let region = &regions[index];
        let before =
            regions[..index].last().filter(|before| before.end == region.start && before.readable)?;
        let first = target.read(region.start, 8);
        let mark = u64::from_le_bytes(first.try_into().ok()?);
        let base = find_header(target, before, region)?;
        let known = self.images.get(&(base, mark)).cloned();
        let (id, object) = match known.filter(|(_, object)| is_same(target, object)) {
            Some(known) => known,
            None => {
                let header = target.read(base, image::HEADER);
                let size = image::size_from_header(&header).filter(|size| *size <= LARGEST_IMAGE)?;
                let bytes = target.read(base, usize::try_from(size).ok()?);
                let object = Arc::new(WasmObject { base, image: Image::parse(&bytes).ok()? });
                let id = self.number();
                new(id, &Object::Wasm(Arc::clone(&object)));
                self.images.insert((base, mark), (id, Arc::clone(&object)));
                (id, object)
            }
        };
        let text = &object.image.text;
        let start = base + text.start;
        let range = start..base + text.end;
        Some(vec![Piece { range, id, bias: start, object: Some(Object::Wasm(object)) }])
    }
}

/// `jit-PID.dump`, mapped as executable.
fn is_jitdump(region: &Region) -> bool {
    let path = region.path.strip_suffix(" (deleted)").unwrap_or(&region.path);
    let name = path.rsplit('/').next().unwrap_or(path);
    region.executable && name.starts_with("jit-") && name.ends_with(".dump")
}

/// The nearest image header before `region` whose text begins at the region.
fn find_header(target: &Target, before: &Region, region: &Region) -> Option<u64> {
    /// Headers lie close before the text; the rest of a shared region belongs to another image.
    const NEAR: u64 = 1 << 20;
    let page = 4096;
    let mut at = region.start.checked_sub(page)?;
    while at >= before.start && region.start - at <= NEAR {
        if image::is_image(&target.read(at, 8)) {
            return Some(at);
        }
        at = at.checked_sub(page)?;
    }
    // Deserialised images may have other sections first: the region's own start is tried too.
    image::is_image(&target.read(before.start, 8)).then_some(before.start)
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

fn read_host(target: &Target, region: &Region) -> Option<HostObject> {
    if region.path == "[vdso]" {
        let bytes = target.read(region.start, usize::try_from(region.end - region.start).ok()?);
        let tables = UnwindTables::from_bytes(&bytes).ok();
        return Some(HostObject { path: region.path.clone(), reached: None, bytes: Some(bytes), tables });
    }
    let reached = target.mapped_file(region);
    let tables = reached.as_ref().map(|path| UnwindTables::read(path));
    if let Some(Ok(tables)) = &tables
        && tables.segments.is_empty()
    {
        // A serialised module that wasmtime maps from its file is an image, not a library.
        return None;
    }
    let path = region.path.clone();
    Some(HostObject { path, reached, bytes: None, tables: tables.and_then(Result::ok) })
}
