//! Names of the host's and the kernel's code, by symbol tables. All addresses are named at once: each table
//! is gone through one time, and no name is read but those that are wanted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::iter;
use std::path::{Path, PathBuf};

use object::read::ReadRef;
use object::{
    Object, ObjectSection as _, ObjectSymbol as _, ObjectSymbolTable, SectionIndex, SymbolFlags, SymbolIndex,
    elf,
};
use wasmdbg_symbols::demangle::demangle;

use crate::limits::{self, Budget, ElfFile, Notes};
use crate::recording::{ObjectInfo, Recording};
use crate::target::host::hex;
use crate::target::space::{KERNEL, ObjectId, UNKNOWN};
use crate::unwind::RawFrame;

/// Where the symbols of an object are.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// In an ELF file.
    File(&'a Path),
    /// In the bytes of one.
    Bytes(&'a [u8]),
}

/// The functions of `frames`, demangled, each with the number that the frame came with. `source` knows objects
/// other than the kernel. What has no name is not among them: the kernel's code, for one, while
/// /proc/kallsyms hides its addresses, and what there is no room for, of which there are notes.
pub fn names<'a>(
    frames: impl Iterator<Item = (u32, RawFrame)>,
    source: impl Fn(ObjectId) -> Option<Source<'a>>,
    notes: &mut Notes,
) -> Vec<(u32, String)> {
    let mut budget = limits::SYMBOLS;
    let mut objects: BTreeMap<ObjectId, Vec<(u64, u32)>> = BTreeMap::new();
    for (number, frame) in frames {
        objects.entry(frame.object).or_default().push((frame.address, number));
    }
    let mut named = Vec::new();
    for (object, mut wanted) in objects {
        wanted.sort_unstable();
        let addresses: Vec<u64> = wanted.iter().map(|wanted| wanted.0).collect();
        let found = if object == KERNEL {
            let text = File::open("/proc/kallsyms").map(|file| BufReader::with_capacity(64 << 10, file));
            text.map(|text| by_kallsyms(text, &addresses)).unwrap_or_default()
        } else {
            match source(object) {
                Some(Source::File(path)) => {
                    let (found, cut) = by_file(path, SEPARATE.as_ref(), &addresses, &mut budget);
                    if cut {
                        let path = path.display();
                        notes.add(&format!(
                            "{path}: functions have no names: at most {budget} of symbols are read"
                        ));
                    }
                    found
                }
                Some(Source::Bytes(bytes)) => object::File::parse(bytes)
                    .map(|file| by_symbols(&[&file], &addresses))
                    .unwrap_or_default(),
                None => Vec::new(),
            }
        };
        named.extend(wanted.iter().zip(found).filter_map(|(wanted, name)| Some((wanted.1, name?))));
    }
    named
}

/// As [`names`], of all frames of a recording, by the files of this machine; `further` knows objects that are no files.
pub(crate) fn of_recording<'a>(
    recording: &'a Recording,
    further: impl Fn(ObjectId) -> Option<Source<'a>>,
    notes: &mut Notes,
) -> Vec<(u32, String)> {
    let file = |object| match recording.object(object) {
        // Of a file that nobody has read the frames have offsets, not addresses.
        Some(ObjectInfo::Host { reached: Some(reached), .. }) if object != UNKNOWN => {
            Some(Source::File(Path::new(reached)))
        }
        _ => None,
    };
    let frames = recording.frames.iter().enumerate().map(|(index, frame)| (index as u32, *frame));
    names(frames, |object| further(object).or_else(|| file(object)), notes)
}

/// Where distributions put the symbols that they take out of their programs, by build id (gdb's convention).
const SEPARATE: &str = "/usr/lib/debug/.build-id";

/// Names of addresses by a file, and whether there was no room for all of its symbols.
fn by_file(
    path: &Path,
    separate: &Path,
    addresses: &[u64],
    budget: &mut Budget,
) -> (Vec<Option<String>>, bool) {
    let Ok(elf) = ElfFile::open(path, budget.room()) else { return (Vec::new(), false) };
    let Ok(file) = object::File::parse(&elf) else { return (Vec::new(), elf.is_cut()) };
    let apart = separate_path(&file, separate).and_then(|path| ElfFile::open(&path, elf.room()).ok());
    let other = apart.as_ref().and_then(|elf| object::File::parse(elf).ok());
    let files: Vec<_> = iter::once(&file).chain(&other).collect();
    let found = by_symbols(&files, addresses);
    budget.count(budget.room() - apart.as_ref().unwrap_or(&elf).room());
    (found, elf.is_cut() || apart.as_ref().is_some_and(ElfFile::is_cut))
}

/// Where the symbols are of a file that has none of its own.
fn separate_path<'data, R: ReadRef<'data>>(file: &object::File<'data, R>, folder: &Path) -> Option<PathBuf> {
    if file.symbols().next().is_some() {
        return None;
    }
    let id = hex(file.build_id().ok()??);
    let (first, rest) = id.split_at_checked(2)?;
    Some(folder.join(first).join(format!("{rest}.debug")))
}

/// Which table, and which symbol of it.
type InTables = Option<(usize, SymbolIndex)>;

/// By `.symtab` and `.dynsym`.
fn by_symbols<'data, R: ReadRef<'data>>(
    files: &[&object::File<'data, R>],
    addresses: &[u64],
) -> Vec<Option<String>> {
    let mut nearest = Nearest::<InTables>::new(addresses);
    let tables: Vec<_> =
        files.iter().flat_map(|file| [file.symbol_table(), file.dynamic_symbol_table()]).collect();
    for (index, table) in tables.iter().enumerate() {
        for symbol in table.iter().flat_map(ObjectSymbolTable::symbols) {
            if is_code(symbol.flags())
                && symbol.is_definition()
                && let Some(best) = nearest.better(symbol.address(), symbol.size())
            {
                *best = Some((index, symbol.index()));
            }
        }
    }
    let demangled = |(table, index): (usize, SymbolIndex)| {
        Some(demangle(tables[table].as_ref()?.symbol_by_index(index).ok()?.name().ok()?))
    };
    // Hand-written assembly has symbols without a size. They end with their section: what lies behind that of `_init` are
    // the stubs of a linker.
    let end_of_section = |(table, index): (usize, SymbolIndex)| {
        let symbol = tables[table].as_ref()?.symbol_by_index(index).ok()?;
        let section = files[table / 2].section_by_index(symbol.section_index()?).ok()?;
        Some(section.address().saturating_add(section.size()))
    };
    // Addresses of one function follow each other.
    let mut last: (InTables, Option<String>) = (None, None);
    let name = |(found, address): (Option<&Best<InTables>>, &u64)| {
        let best = found?;
        let end = match best.size {
            0 => best.symbol.and_then(end_of_section).unwrap_or(u64::MAX),
            size => best.start.saturating_add(size),
        };
        if *address >= end {
            return None;
        }
        if last.0 != best.symbol {
            last = (best.symbol, best.symbol.and_then(demangled));
        }
        last.1.clone()
    };
    nearest.found().into_iter().zip(addresses).map(name).collect()
}

/// STT_FUNC. The library's kind of a symbol may look at its name, which is a read of the file for each of them.
fn is_code(flags: SymbolFlags<SectionIndex, SymbolIndex>) -> bool {
    matches!(flags, SymbolFlags::Elf { st_info, .. } if st_info & 15 == elf::STT_FUNC)
}

/// By the text of /proc/kallsyms, which is in no order. It is long and mostly not wanted: a name is copied only
/// where it is the best so far.
fn by_kallsyms(mut text: impl BufRead, addresses: &[u64]) -> Vec<Option<String>> {
    let mut nearest = Nearest::<Vec<u8>>::new(addresses);
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if let Some((address, name)) = code_of_line(&line)
            && let Some(best) = nearest.better(address, 0)
        {
            best.clear();
            best.extend_from_slice(name);
        }
        line.clear();
    }
    let name = |found: Option<&Best<Vec<u8>>>| Some(String::from_utf8_lossy(&found?.symbol).into_owned());
    nearest.found().into_iter().map(name).collect()
}

/// `ffffffff81000080 t schedule`, perhaps with a tab and `[module]`.
fn code_of_line(line: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, [b' ', b't' | b'T', b' ', name @ ..]) = line.split_first_chunk::<16>()? else { return None };
    // A letter is 9 more than its low half.
    let value = |digit: u8| u64::from(digit & 15) + 9 * u64::from(digit >> 6);
    let address = digits.iter().fold(0, |sum, digit| sum << 4 | value(*digit));
    let end = name.iter().position(|byte| matches!(byte, b'\t' | b'\n')).unwrap_or(name.len());
    (address != 0).then_some((address, &name[..end]))
}

/// For each address the symbol that begins last before it, out of symbols in any order.
struct Nearest<'a, S> {
    /// Rising.
    addresses: &'a [u64],
    /// The best symbol that begins behind the address before.
    best: Vec<Option<Best<S>>>,
    /// Where the last symbol belonged.
    last: usize,
}

#[derive(Default)]
struct Best<S> {
    start: u64,
    size: u64,
    symbol: S,
}

impl<'a, S: Default> Nearest<'a, S> {
    fn new(addresses: &'a [u64]) -> Self {
        Self { addresses, best: addresses.iter().map(|_| None).collect(), last: 0 }
    }

    /// Where to put a symbol that is better than what is there.
    fn better(&mut self, start: u64, size: u64) -> Option<&mut S> {
        // Many tables are in order: the next symbol belongs where the last one did.
        let between = |place: usize| {
            let before = place.checked_sub(1).map_or(0, |before| self.addresses[before]);
            before < start && self.addresses.get(place).is_none_or(|address| *address >= start)
        };
        if !between(self.last) {
            self.last = self.addresses.partition_point(|address| *address < start);
        }
        let place = self.last;
        let slot = self.best.get_mut(place)?;
        // Of several names for one address the longest covers most.
        if slot.as_ref().is_some_and(|best| (best.start, best.size) >= (start, size)) {
            return None;
        }
        let best = slot.get_or_insert_with(Best::default);
        (best.start, best.size) = (start, size);
        Some(&mut best.symbol)
    }

    /// By the order of the addresses.
    fn found(&self) -> Vec<Option<&Best<S>>> {
        let mut last = None;
        let mut found = Vec::with_capacity(self.best.len());
        for best in &self.best {
            last = best.as_ref().or(last);
            found.push(last);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_an_address_is_named() {
        let text = "ffffffff81000080 t schedule\t[m]\nffffffff81000000 T _stext\n0000000000000000 T hidden\n\
                    ffffffff81000040 d data\n";
        let base = 0xffff_ffff_8100_0000;
        let names = by_kallsyms(text.as_bytes(), &[base - 1, base, base + 0x50, base + 0x80, base + 0x90]);
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [None, Some("_stext"), Some("_stext"), Some("schedule"), Some("schedule")]);
    }

    #[test]
    fn the_last_symbol_before_an_address_counts_and_of_two_the_longest() {
        let mut nearest = Nearest::new(&[5, 15, 16, 30]);
        for (start, size, name) in [
            (20, 4, "d"),
            (14, 1, "short"),
            (14, 3, "long"),
            (14, 2, "other"),
            (10, 9, "early"),
            (40, 1, "e"),
        ] {
            if let Some(best) = nearest.better(start, size) {
                *best = name;
            }
        }
        let names: Vec<_> = nearest.found().iter().map(|found| found.map(|found| found.symbol)).collect();
        assert_eq!(names, [None, Some("long"), Some("long"), Some("d")]);
    }

    /// This program, its build id, and where its `main` is.
    fn this_program() -> (std::path::PathBuf, String, u64) {
        let program = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let main = file.symbols().find(|symbol| symbol.name() == Ok("main")).unwrap().address();
        let id = hex(file.build_id().unwrap().expect("linkers write a build id"));
        (program, id, main)
    }

    #[test]
    fn a_stripped_program_has_its_symbols_elsewhere() {
        let (program, id, main) = this_program();
        let folder = std::env::temp_dir().join(format!("wasmprof-separate-{}", std::process::id()));
        let (stripped, separate) = (folder.join("stripped"), folder.join(&id[..2]));
        std::fs::create_dir_all(&separate).unwrap();
        let mut strip = std::process::Command::new("strip");
        assert!(strip.arg("-o").arg(&stripped).arg(&program).status().unwrap().success());
        let name =
            |folder: &Path| by_file(&stripped, folder, &[main + 1], &mut limits::SYMBOLS.clone()).0.remove(0);
        let without = name(&folder);
        std::os::unix::fs::symlink(&program, separate.join(format!("{}.debug", &id[2..]))).unwrap();
        let with = name(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((without, with.as_deref()), (None, Some("main")));
    }

    #[test]
    fn a_symbol_without_a_size_ends_with_its_section() {
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = file.section_by_name(".init").unwrap();
        let (first, behind) = (section.address(), section.address() + section.size());
        let (names, _) =
            by_file(&path, SEPARATE.as_ref(), &[first, behind - 1, behind], &mut limits::SYMBOLS.clone());
        let init = Some("_init".to_owned());
        assert!(names[0] == init && names[1] == init && names[2] != init, "{names:?}");
    }

    #[test]
    fn functions_of_this_program_and_nothing_of_what_is_no_file() {
        let (program, _, main) = this_program();
        let frames = [
            (7, RawFrame { object: ObjectId(5), address: 0 }),
            (8, RawFrame { object: ObjectId(6), address: 1 }),
            (9, RawFrame { object: ObjectId(5), address: main + 1 }),
        ];
        let source = |object| match object {
            ObjectId(5) => Some(Source::File(&program)),
            ObjectId(6) => Some(Source::Bytes(b"no ELF file")),
            _ => None,
        };
        assert_eq!(names(frames.into_iter(), source, &mut Notes::default()), [(9, "main".to_owned())]);
    }

    #[test]
    fn symbols_are_read_as_far_as_there_is_room_for_all_files() {
        let (program, _, main) = this_program();
        let mut budget = limits::SYMBOLS;
        let name = |budget: &mut Budget| by_file(&program, SEPARATE.as_ref(), &[main], budget);
        assert_eq!(name(&mut budget), (vec![Some("main".to_owned())], false));
        let mut budget = Budget::new(64 << 20, 64 << 20);
        let mut rounds = 0;
        while !name(&mut budget).1 {
            rounds += 1;
        }
        assert!(rounds > 0, "there is room for the first ones");
        assert!(name(&mut Budget::new(4096, 4096)).1);
    }
}
