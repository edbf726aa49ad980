//! What a profiled process may make the profiler read and keep. Its user chooses its files, its memory and its
//! answers, and wasmprof often runs as root: everything that comes from there has a limit, of each piece and of all
//! together, and a message that says what was left out.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object::read::{ReadCache, ReadRef};
pub use wasmdbg_control::files::open;

const MIB: u64 = 1 << 20;

/// Jitdumps and perf maps. V8's for a large program have some 100 MB; they are read part by part.
pub const DESCRIPTIONS: Budget = Budget::new(256 * MIB, 512 * MIB);

/// Pieces of code that jitdumps and perf maps describe together. A large program has 200,000; each costs some 200
/// bytes.
pub const PIECES: usize = 1 << 19;

/// Jitdumps and perf maps of one process: an engine writes one.
pub const DESCRIPTION_FILES: usize = 64;

/// Compiled code of modules, in memory. That of a filter has a few MB; all of it is kept until the end.
pub const IMAGES: Budget = Budget::new(256 * MIB, 1024 * MIB);

/// Looks for the headers of images at each look at the memory map. One takes a microsecond, and a region with an
/// image needs one or two; one without is looked through once.
pub const PROBES: usize = 100_000;

/// Modules, unstripped copies and source maps. With debug info a large one has 100 MB.
pub const MODULES: Budget = Budget::new(256 * MIB, 512 * MIB);

/// Files that a folder or a command line may name.
pub const MODULE_FILES: usize = 256;

/// Unwind tables of the host's files, which are kept. Those of a browser have 20 MB.
pub const TABLES: Budget = Budget::new(64 * MIB, 512 * MIB);

/// Symbol tables of the host's files, read one after the other. Those of a browser have 200 MB.
pub const SYMBOLS: Budget = Budget::new(512 * MIB, 2048 * MIB);

/// The text of /proc/PID/maps: 65,530 lines (vm.max_map_count) of 500 bytes each.
pub const MEMORY_MAP: u64 = 32 * MIB;

/// How long to wait for one answer of a proxy. Its control thread may have to wait for a processor.
pub const ANSWER: Duration = Duration::from_secs(10);

/// How long to wait for all answers of a proxy together: nothing is sampled meanwhile.
pub const ANSWERS: Duration = Duration::from_secs(60);

/// Notes of one kind that are shown.
const NOTES: usize = 16;

/// Bytes that may be taken from one kind of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    each: u64,
    all: u64,
    taken: u64,
}

/// Why something is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It is too large itself.
    #[error("it has {}, and at most {} are read of one", size(*.0), size(*.1))]
    Each(u64, u64),
    /// There is too much with it.
    #[error("with its {} there would be more than the {} that are read of all together", size(*.0), size(*.1))]
    All(u64, u64),
}

impl Budget {
    /// At most `each` bytes of one, and `all` of all together.
    #[must_use]
    pub const fn new(each: u64, all: u64) -> Self {
        Self { each, all, taken: 0 }
    }

    /// Whether there is room for one of so many bytes.
    ///
    /// # Errors
    /// See [`TooMuch`].
    pub fn check(&self, bytes: u64) -> Result<(), TooMuch> {
        if bytes > self.each {
            return Err(TooMuch::Each(bytes, self.each));
        }
        if bytes > self.all.saturating_sub(self.taken) {
            return Err(TooMuch::All(bytes, self.all));
        }
        Ok(())
    }

    /// Counts bytes, whether there is room for them or not.
    pub fn count(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes);
    }

    /// Checks and counts.
    ///
    /// # Errors
    /// See [`TooMuch`].
    pub fn take(&mut self, bytes: u64) -> Result<(), TooMuch> {
        self.check(bytes)?;
        self.count(bytes);
        Ok(())
    }

    /// How many bytes the next one may have.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.each.min(self.all.saturating_sub(self.taken))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of one and {} of all together", size(self.each), size(self.all))
    }
}

/// A number of bytes as people read it.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < MIB { format!("{bytes} bytes") } else { format!("{} MiB", bytes / MIB) }
}

/// Reads a file as [`open`] opens it.
///
/// # Errors
/// It cannot be read, or there is no room for it.
pub fn read(path: &Path, budget: &mut Budget) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    budget.check(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    // It may grow meanwhile, and some files of the kernel say that they have nothing.
    file.take(budget.room() + 1).read_to_end(&mut bytes)?;
    budget.take(bytes.len() as u64).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The bytes of an ELF file, of which no more may be read than there is room for: its headers may claim anything.
#[derive(Debug)]
pub struct ElfFile {
    cache: ReadCache<File>,
    room: Cell<u64>,
    refused: Cell<bool>,
}

impl ElfFile {
    /// Opens a file, of which `room` bytes may be read.
    ///
    /// # Errors
    /// See [`open`].
    pub fn open(path: &Path, room: u64) -> io::Result<Self> {
        Ok(Self { cache: ReadCache::new(open(path)?), room: Cell::new(room), refused: Cell::new(false) })
    }

    /// How many bytes may still be read.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.room.get()
    }

    /// Whether something was not read because there was no room for it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.refused.get()
    }

    fn take(&self, bytes: u64) -> Result<(), ()> {
        let left = self.room.get().checked_sub(bytes);
        self.refused.set(self.refused.get() || left.is_none());
        left.map(|left| self.room.set(left)).ok_or(())
    }
}

impl<'a> ReadRef<'a> for &'a ElfFile {
    fn len(self) -> Result<u64, ()> {
        ReadRef::len(&self.cache)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        // What lies beyond the end is damage, not size.
        if offset.checked_add(size).is_none_or(|end| ReadRef::len(self).is_ok_and(|length| end > length)) {
            return Err(());
        }
        self.take(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let bytes = (&self.cache).read_bytes_at_until(range, delimiter)?;
        self.take(bytes.len() as u64)?;
        Ok(bytes)
    }
}

/// Whether the user has had enough. Long work asks between its parts, and leaves the rest.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The user has had enough.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether he has.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A text that cannot do anything to a terminal.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What the user should know, each thing once, and not without end.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    list: Vec<String>,
    more: usize,
}

impl Notes {
    /// Adds one, on one line: names of files may hold anything.
    pub fn add(&mut self, note: &str) {
        let note = on_one_line(note);
        if self.list.contains(&note) {
            return;
        }
        if self.list.len() < NOTES { self.list.push(note) } else { self.more += 1 }
    }

    /// All of them, and how many there are beside those.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more of this kind", self.more));
        self.list.iter().cloned().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_and_all_have_limits_that_are_named() {
        let mut budget = Budget::new(4 * MIB, 6 * MIB);
        assert_eq!(budget.take(4 * MIB), Ok(()));
        let each = budget.take(5 * MIB).unwrap_err().to_string();
        assert_eq!(each, "it has 5 MiB, and at most 4 MiB are read of one");
        let all = budget.take(3 * MIB).unwrap_err().to_string();
        assert_eq!(all, "with its 3 MiB there would be more than the 6 MiB that are read of all together");
        assert_eq!((budget.room(), budget.take(2 * MIB), budget.room()), (2 * MIB, Ok(()), 0));
    }

    #[test]
    fn files_are_read_up_to_the_limit_and_nothing_else_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("wasmprof-limits-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let mut budget = Budget::new(8, 12);
        let mut said = |name: &str| match read(&path(name), &mut budget) {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(error) => error.to_string(),
        };
        std::fs::write(path("small"), [1; 8]).unwrap();
        File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        let found = ["small", "huge", "pipe", "device", "small"].map(&mut said);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found[0], "8 bytes");
        assert_eq!(found[1], "it has 1048576 MiB, and at most 8 bytes are read of one");
        assert_eq!((&*found[2], &*found[3]), ("it is not a file", "it is not a file"));
        assert!(found[4].contains("more than the 12 bytes"), "{}", found[4]);
    }

    #[test]
    fn an_elf_file_is_read_as_far_as_there_is_room() {
        let path = std::env::temp_dir().join(format!("wasmprof-elf-{}", std::process::id()));
        std::fs::write(&path, [7; 64]).unwrap();
        let file = ElfFile::open(&path, 40).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((&file).read_bytes_at(0, 32), Ok(&[7; 32][..]));
        assert_eq!(((&file).read_bytes_at(32, 33), file.is_cut()), (Err(()), false), "beyond the end");
        assert_eq!(((&file).read_bytes_at(32, 32), file.is_cut()), (Err(()), true));
        assert_eq!((&file).read_bytes_at(32, 8), Ok(&[7; 8][..]));
    }

    #[test]
    fn notes_are_said_once_on_one_line_and_have_an_end() {
        let mut notes = Notes::default();
        (0..20).for_each(|number| notes.add(&format!("file \x1b[2J\n{}", number / 2 * 2)));
        (0..40).for_each(|number| notes.add(&number.to_string()));
        let all: Vec<String> = notes.iter().collect();
        assert_eq!((all.len(), &*all[0], &*all[16]), (17, "file  [2J 0", "and 34 more of this kind"));
    }
}
