//! The host's own code: the ELF files that are mapped. Owns their unwind tables and their symbols.
//! Reads sections one by one; a plugin with its debug info is never read as a whole.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, LittleEndian, Operation, UnwindContext, UnwindSection as _,
};
use object::read::ReadRef;
use object::{Object, ObjectSection as _, ObjectSegment as _};

use crate::limits::{Budget, ElfFile};

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Cannot be opened.
    #[error("{0}")]
    Open(#[from] io::Error),
    /// Not ELF, or damaged.
    #[error("{0}")]
    Elf(#[from] object::Error),
}

/// What unwinding needs of a file.
#[derive(Debug, Clone)]
pub struct UnwindTables {
    /// Where the file's parts are in memory.
    pub segments: Segments,
    /// Build id in hex, if it has one.
    pub build_id: Option<String>,
    /// There was no room for all of them.
    pub is_cut: bool,
    header: Option<(u64, Arc<[u8]>)>,
    frames: Option<(u64, Arc<[u8]>)>,
}

/// The longest build ids have 20 bytes; a note may have any length.
const BUILD_ID: usize = 64;

/// Headers of a file: program headers have 56 bytes, section headers 64, and there are 65,535 of each at most.
const HEADERS: u64 = 16 << 20;

/// The parts of a file that are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments(Vec<Segment>);

/// Addresses in the file, with their offsets in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    addresses: Range<u64>,
    offset: u64,
}

impl Segments {
    /// Reads them from a file.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn read(path: &Path) -> Result<Self, HostError> {
        let file = ElfFile::open(path, HEADERS)?;
        Ok(Self::of(&object::File::parse(&file)?))
    }

    fn of<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Self {
        let segment = |segment: object::Segment<'data, '_, R>| Segment {
            addresses: segment.address()..segment.address().saturating_add(segment.size()),
            offset: segment.file_range().0,
        };
        Self(file.segments().map(segment).collect())
    }

    /// Whether nothing of the file is loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to add to an address in the file to get the one in memory, when `offset` of the file is
    /// mapped at `address`.
    #[must_use]
    pub fn bias(&self, address: u64, offset: u64) -> u64 {
        let holds = |segment: &&Segment| {
            let length = segment.addresses.end - segment.addresses.start;
            // A mapping begins at a page's border, a segment need not.
            (segment.offset & !0xfff..segment.offset.saturating_add(length.max(1))).contains(&offset)
        };
        let segment = self.0.iter().rev().find(holds);
        let in_file = segment.map_or(offset, |segment| {
            segment.addresses.start.wrapping_add(offset).wrapping_sub(segment.offset)
        });
        address.wrapping_sub(in_file)
    }
}

/// What unwind tables say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// Nothing.
    No,
    /// Where the caller's frame is, by the registers.
    Yes,
    /// That memory says where the caller's frame is: a fiber's first function was entered from another stack.
    ElsewhereInMemory,
}

impl UnwindTables {
    /// Reads them from a file, as far as there is room for them.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn read(path: &Path, budget: &mut Budget) -> Result<Self, HostError> {
        let file = ElfFile::open(path, budget.room())?;
        let mut tables = Self::parse(&object::File::parse(&file)?)?;
        tables.is_cut = file.is_cut();
        for (_, bytes) in tables.header.iter().chain(&tables.frames) {
            budget.count(bytes.len() as u64);
        }
        Ok(tables)
    }

    /// Reads them from the bytes of an ELF file (the vdso).
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostError> {
        Self::parse(&object::File::parse(bytes)?)
    }

    fn parse<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Result<Self, HostError> {
        let section = |name: &str| {
            let section = file.section_by_name(name)?;
            Some((section.address(), Arc::from(section.data().ok()?)))
        };
        Ok(Self {
            segments: Segments::of(file),
            build_id: file.build_id()?.filter(|id| id.len() <= BUILD_ID).map(hex),
            is_cut: false,
            header: section(".eh_frame_hdr"),
            frames: section(".eh_frame"),
        })
    }

    /// For the unwinder: the part of the file that is mapped at `range`.
    #[must_use]
    pub fn module(&self, name: &str, range: Range<u64>, bias: u64) -> Module<Arc<[u8]>> {
        let range_of = |section: &Option<(u64, Arc<[u8]>)>| {
            section.as_ref().map(|(address, data)| *address..address.saturating_add(data.len() as u64))
        };
        let data_of = |section: &Option<(u64, Arc<[u8]>)>| section.as_ref().map(|(_, data)| Arc::clone(data));
        let info = ExplicitModuleSectionInfo {
            eh_frame_svma: range_of(&self.frames),
            eh_frame: data_of(&self.frames),
            eh_frame_hdr_svma: range_of(&self.header),
            eh_frame_hdr: data_of(&self.header),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(name.to_owned(), range, bias, info)
    }

    /// What the tables say of an address of the file. Where they say nothing the caller is not known, and a frame
    /// pointer in code that was compiled without them would invent one.
    #[must_use]
    pub fn covers(&self, address: u64) -> Covered {
        self.find_rule(address).unwrap_or(Covered::No)
    }

    fn find_rule(&self, address: u64) -> Option<Covered> {
        let (frames_at, frames) = self.frames.as_ref()?;
        let section = EhFrame::new(frames, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(*frames_at);
        let fde = match &self.header {
            Some((header_at, header)) => {
                let bases = bases.clone().set_eh_frame_hdr(*header_at);
                let header = EhFrameHdr::new(header, LittleEndian).parse(&bases, 8).ok()?;
                header.table()?.fde_for_address(&section, &bases, address, EhFrame::cie_from_offset).ok()?
            }
            None => section.fde_for_address(&bases, address, EhFrame::cie_from_offset).ok()?,
        };
        if !fde.contains(address) {
            return None;
        }
        let mut context = UnwindContext::new();
        let row = fde.unwind_info_for_address(&section, &bases, &mut context, address).ok()?;
        let CfaRule::Expression(expression) = row.cfa() else { return Some(Covered::Yes) };
        let mut operations = expression.get(&section).ok()?.operations(fde.cie().encoding());
        while let Some(operation) = operations.next().ok()? {
            if let Operation::Deref { .. } = operation {
                return Some(Covered::ElsewhereInMemory);
            }
        }
        Some(Covered::Yes)
    }
}

/// As build ids are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This program, and where its `main` is.
    fn this_program() -> (std::path::PathBuf, u64) {
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let main = object::Object::symbols(&file)
            .find(|symbol| object::ObjectSymbol::name(symbol) == Ok("main"))
            .map(|symbol| object::ObjectSymbol::address(&symbol));
        (path, main.unwrap())
    }

    #[test]
    fn tables_are_read_as_far_as_there_is_room() {
        let (path, main) = this_program();
        let mut budget = Budget::new(1 << 30, 1 << 30);
        let whole = UnwindTables::read(&path, &mut budget).unwrap();
        assert_eq!((whole.is_cut, whole.covers(main), whole.covers(0)), (false, Covered::Yes, Covered::No));
        let size = whole.frames.as_ref().unwrap().1.len() as u64;
        assert!(size <= (1 << 30) - budget.room(), "they count");
        let cut = UnwindTables::read(&path, &mut Budget::new(size, 1 << 30)).unwrap();
        assert_eq!((cut.is_cut, cut.covers(main)), (true, Covered::No));
    }

    /// Headers of one page that claim gigabytes of a sparse file.
    #[test]
    fn absurd_headers_take_no_memory() {
        let (path, _) = this_program();
        let mut head = std::fs::read(path).unwrap();
        head.truncate(4096);
        let file = std::env::temp_dir().join(format!("wasmprof-absurd-{}", std::process::id()));
        // e_shoff; then no e_shnum, so that the first section header's size is the number of sections.
        head[40..48].copy_from_slice(&2048_u64.to_le_bytes());
        head[60..62].fill(0);
        head[2048..2112].fill(0);
        head[2080..2088].copy_from_slice(&(1_u64 << 32).to_le_bytes());
        std::fs::write(&file, &head).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
        let found = UnwindTables::read(&file, &mut Budget::new(1 << 20, 1 << 20));
        let segments = Segments::read(&file);
        std::fs::remove_file(&file).unwrap();
        assert!(found.is_err() && segments.is_err());
    }
}
