//! What the target's engines say of the code they made: jitdumps that the target has mapped, the perf map in
//! its /tmp, and files that the user names. Files are kept open: they are read again at the end, when the
//! target and its file system may be gone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::code::jitdump::{self, JitdumpError};
use crate::code::perf_map;
use crate::code::timeline::Timeline;
use crate::limits::{self, Budget, Cancel, Notes, size};
use crate::target::{Region, Target};

/// Why a file describes nothing.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Not a jitdump.
    #[error("{0}: {1}")]
    Jitdump(PathBuf, JitdumpError),
    /// Anybody may put a file into /tmp.
    #[error("{0} belongs neither to the user of process {1} nor to root: name it with --code to use it")]
    Stranger(PathBuf, u32),
    /// A target may map any number of them.
    #[error("there are more than {0} jitdumps and perf maps: the others are left out")]
    Files(usize),
}

/// See the module.
#[derive(Debug)]
pub struct Descriptions {
    sources: Vec<Source>,
    /// Files that were tried, by device and inode: each is tried once.
    tried: HashSet<(u64, u64)>,
    problems: Notes,
    limits: Limits,
}

/// What may be read of all files together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes.
    pub bytes: Budget,
    /// Pieces of code.
    pub pieces: usize,
    /// Files.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: limits::DESCRIPTIONS, pieces: limits::PIECES, files: limits::DESCRIPTION_FILES }
    }
}

impl Default for Descriptions {
    fn default() -> Self {
        Self::within(Limits::default())
    }
}

impl Limits {
    /// What is left of them.
    fn without(&self, bytes: u64, pieces: usize) -> Self {
        let mut left = self.clone();
        left.bytes.count(bytes);
        left.pieces = left.pieces.saturating_sub(pieces);
        left
    }
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
    timeline: Timeline,
    /// Bytes that were read.
    size: u64,
    /// Loads that have been handed on.
    taken: usize,
    /// The process that a jitdump says it is of.
    of: Option<u32>,
}

impl Descriptions {
    /// Nothing is described yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Descriptions::new`], with limits of its own.
    #[must_use]
    pub fn within(limits: Limits) -> Self {
        Self { sources: Vec::new(), tried: HashSet::new(), problems: Notes::default(), limits }
    }

    /// Takes a file that the user names: a perf map when its name ends with `.map`, else a jitdump.
    ///
    /// # Errors
    /// See [`DescriptionError`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), DescriptionError> {
        self.add(path, &Cancel::default(), |_| Ok(()))
    }

    /// Takes what the target has written since the last look: `jitdumps` that it has mapped, and its perf
    /// map. What cannot be used is among the [`Descriptions::problems`]. Once `cancel` is cancelled, nothing new is read.
    pub fn look(&mut self, target: &Target, jitdumps: &[Region], cancel: &Cancel) {
        let own = PathBuf::from(format!("/tmp/perf-{}.map", target.inner_pid()));
        let mut map = target.reach(&own);
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if map.symlink_metadata().as_ref().is_err_and(denied) && target.is_in_our_namespace() {
            map = own;
        }
        if map.symlink_metadata().is_ok_and(|data| data.is_file()) {
            let owner = target.owner();
            let added = self.add(&map, cancel, |data| {
                let trusted = data.uid() == 0 || Some(data.uid()) == owner;
                if trusted { Ok(()) } else { Err(DescriptionError::Stranger(map.clone(), target.pid())) }
            });
            self.note(added);
        }
        let most = self.limits.files;
        for path in jitdumps.iter().take(most).filter_map(|region| target.mapped_file(region)) {
            let added = self.add(&path, cancel, |_| Ok(()));
            self.note(added);
        }
        if jitdumps.len() > most {
            self.note(Err(DescriptionError::Files(most)));
        }
    }

    fn note(&mut self, added: Result<(), DescriptionError>) {
        if let Err(error) = added {
            self.problems.add(&error.to_string());
        }
    }

    /// Jitdumps that are of another process than the one with this id, with that process.
    pub fn of_others(&self, pid: u32) -> impl Iterator<Item = (&Path, u32)> {
        let other = move |source: &Source| source.of.filter(|of| *of != pid);
        self.sources.iter().filter_map(move |source| Some((source.path.as_path(), other(source)?)))
    }

    /// Files of the target that cannot be used, and why.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.problems.iter()
    }

    fn add(
        &mut self,
        path: &Path,
        cancel: &Cancel,
        check: impl FnOnce(&fs::Metadata) -> Result<(), DescriptionError>,
    ) -> Result<(), DescriptionError> {
        let wrong = |error| DescriptionError::Read(path.to_owned(), error);
        let named = fs::metadata(path).map_err(wrong)?;
        if self.tried.contains(&(named.dev(), named.ino())) || cancel.is_cancelled() {
            return Ok(());
        }
        if self.tried.len() >= self.limits.files {
            return Err(DescriptionError::Files(self.limits.files));
        }
        self.tried.insert((named.dev(), named.ino()));
        let file = limits::open(path).map_err(wrong)?;
        check(&file.metadata().map_err(wrong)?)?;
        let mut source = Source {
            path: path.to_owned(),
            file,
            timeline: Timeline::default(),
            size: 0,
            taken: 0,
            of: None,
        };
        let left = self.left(None);
        if source.read(&left, cancel, &mut self.problems)? {
            self.sources.push(source);
        } else {
            self.tried.remove(&(named.dev(), named.ino()));
        }
        Ok(())
    }

    /// What may be read beside what is read, but for the source with this number.
    fn left(&self, but: Option<usize>) -> Limits {
        let others = self.sources.iter().enumerate().filter(|(number, _)| Some(*number) != but);
        let sizes = others.map(|(_, source)| (source.size, source.timeline.loads().len()));
        let (bytes, pieces) = sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.limits.without(bytes, pieces)
    }

    /// Reads all files again: their writers go on writing.
    pub fn read_again(&mut self) {
        for number in 0..self.sources.len() {
            let left = self.left(Some(number));
            // What was read before stays.
            let _ = self.sources[number].read(&left, &Cancel::default(), &mut self.problems);
        }
    }

    /// Whether anything is described.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Gives each timeline that has loads which nobody has taken yet, and the first of them.
    ///
    /// # Errors
    /// That of `each`.
    pub fn take_new<E>(&mut self, mut each: impl FnMut(&Timeline, usize) -> Result<(), E>) -> Result<(), E> {
        for source in &mut self.sources {
            if source.taken < source.timeline.loads().len() {
                each(&source.timeline, source.taken)?;
                source.taken = source.timeline.loads().len();
            }
        }
        Ok(())
    }

    /// The name of the code at an address at a time.
    #[must_use]
    pub fn name_at(&self, address: u64, time: u64) -> Option<&str> {
        self.sources.iter().find_map(|source| Some(source.timeline.find(address, time)?.0.name.as_str()))
    }
}

impl Source {
    /// Whether it was read: nobody has cancelled it.
    fn read(&mut self, left: &Limits, cancel: &Cancel, notes: &mut Notes) -> Result<bool, DescriptionError> {
        self.file.rewind().map_err(|error| DescriptionError::Read(self.path.clone(), error))?;
        let mut timeline = Timeline::default();
        let Some(read) = read(&self.path, &self.file, &mut timeline, left, cancel)? else { return Ok(false) };
        read.left_out.iter().for_each(|note| notes.add(note));
        (self.of, self.size) = (read.of, read.size);
        // Both forms only grow; one that was written anew is handed on as a whole.
        if !timeline.loads().starts_with(&self.timeline.loads()[..self.taken]) {
            self.taken = 0;
        }
        self.timeline = timeline;
        Ok(true)
    }
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The process that a jitdump says it is of.
    pub of: Option<u32>,
    /// Why not all of it was read.
    pub left_out: Option<String>,
    /// Bytes.
    size: u64,
}

/// Adds what a file describes to `timeline`: a perf map when its name ends with `.map`, else a jitdump. `limits` are for
/// all files that are added to it.
///
/// # Errors
/// See [`DescriptionError`].
pub fn read_file(
    path: &Path,
    timeline: &mut Timeline,
    limits: &mut Limits,
) -> Result<Described, DescriptionError> {
    let file = limits::open(path).map_err(|error| DescriptionError::Read(path.to_owned(), error))?;
    let before = timeline.loads().len();
    let read = read(path, &file, timeline, limits, &Cancel::default())?;
    let read = read.unwrap_or(Described { of: None, left_out: None, size: 0 });
    *limits = limits.without(read.size, timeline.loads().len() - before);
    Ok(read)
}

/// Bytes that are read at once.
const PART: u64 = 1 << 20;

/// No record or line is longer: a compiled function has some MB at most.
const LONGEST: usize = 16 << 20;

/// Reads a file part by part; none when it was cancelled.
fn read(
    path: &Path,
    file: &File,
    timeline: &mut Timeline,
    left: &Limits,
    cancel: &Cancel,
) -> Result<Option<Described>, DescriptionError> {
    let wrong = |error| DescriptionError::Read(path.to_owned(), error);
    let is_map = path.extension().is_some_and(|extension| extension == "map");
    let mut parser = jitdump::Parser::default();
    let (room, most) = (left.bytes.room(), timeline.loads().len().saturating_add(left.pieces));
    let (mut rest, mut total, mut left_out) = (Vec::new(), 0, None);
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let count = file.take(PART.min(room - total)).read_to_end(&mut rest).map_err(wrong)? as u64;
        total += count;
        let used = if is_map {
            perf_map::read(&rest, timeline)
        } else {
            parser.feed(&rest, timeline).map_err(|error| DescriptionError::Jitdump(path.to_owned(), error))?
        };
        rest.drain(..used);
        if rest.len() > LONGEST {
            left_out = Some(format!("a line or a record of it has more than {}", size(LONGEST as u64)));
        } else if timeline.loads().len() >= most {
            left_out = Some(format!("it describes more than {} pieces of code", left.pieces));
        } else if total == room {
            let whole = file.metadata().map_err(wrong)?.len();
            left_out = left.bytes.check(whole).err().map(|error| error.to_string());
        } else if count > 0 {
            continue;
        }
        let left_out = left_out.map(|why| {
            format!(
                "{}: what it describes after its first {} is left out: {why}",
                path.display(),
                size(total)
            )
        });
        return Ok(Some(Described { of: parser.pid(), left_out, size: total }));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file of its own, gone with this.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("wasmprof-{}-{name}", std::process::id()));
            fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn within(each: u64, all: u64, pieces: usize, files: usize) -> Descriptions {
        Descriptions::within(Limits { bytes: Budget::new(each, all), pieces, files })
    }

    fn pieces(descriptions: &Descriptions) -> usize {
        descriptions.sources.iter().map(|source| source.timeline.loads().len()).sum()
    }

    fn said(descriptions: &Descriptions) -> String {
        descriptions.problems().collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn files_are_read_up_to_the_limits_of_each_and_of_all() {
        let line = "1000 10 name\n".repeat(100);
        let first = TestFile::new("first.map", line.as_bytes());
        let second = TestFile::new("second.map", line.as_bytes());
        let mut by_size = within(650, 1000, 1000, 9);
        by_size.add_file(&first.0).unwrap();
        assert_eq!(pieces(&by_size), 50);
        assert!(said(&by_size).contains(
            "first.map: what it describes after its first 650 bytes is left out: it has 1300 bytes"
        ));
        by_size.add_file(&second.0).unwrap();
        assert_eq!(pieces(&by_size), 76, "350 bytes of the second");
        by_size.read_again();
        assert_eq!(pieces(&by_size), 76, "again the same");

        let mut by_pieces = within(1 << 20, 1 << 20, 60, 9);
        by_pieces.add_file(&first.0).unwrap();
        by_pieces.add_file(&second.0).unwrap();
        assert!(
            said(&by_pieces).contains("it describes more than 60 pieces of code"),
            "{}",
            said(&by_pieces)
        );

        let mut by_number = within(1 << 20, 1 << 20, 1000, 1);
        by_number.add_file(&first.0).unwrap();
        let error = by_number.add_file(&second.0).unwrap_err().to_string();
        assert!(error.contains("more than 1 jitdumps and perf maps"), "{error}");
    }

    /// Of a sparse file of 1 TB no more is read than a line may have.
    #[test]
    fn a_line_without_an_end_is_not_read_to_its_end() {
        let map = TestFile::new("sparse.map", b"1000 10 name\n");
        File::options().write(true).open(&map.0).unwrap().set_len(1 << 40).unwrap();
        let mut descriptions = Descriptions::new();
        descriptions.add_file(&map.0).unwrap();
        let read = descriptions.sources[0].size;
        assert!(pieces(&descriptions) == 1 && read <= LONGEST as u64 + 2 * PART, "{read}");
        assert!(said(&descriptions).contains("a line or a record of it has more than 16 MiB"));
    }

    #[test]
    fn a_file_that_grows_is_read_again_and_one_that_is_cancelled_is_tried_again() {
        let map = TestFile::new("grows.map", b"1000 10 first\n2000 10 sec");
        let mut descriptions = Descriptions::new();
        let cancel = Cancel::default();
        cancel.cancel();
        descriptions.add(&map.0, &cancel, |_| Ok(())).unwrap();
        assert!(descriptions.is_empty());
        descriptions.add_file(&map.0).unwrap();
        assert_eq!((pieces(&descriptions), descriptions.name_at(0x2001, 0)), (1, None));
        File::options().append(true).open(&map.0).unwrap().write_all(b"ond\n").unwrap();
        descriptions.read_again();
        assert_eq!((pieces(&descriptions), descriptions.name_at(0x2001, 0)), (2, Some("second")));
        assert_eq!(said(&descriptions), "");
    }
}
