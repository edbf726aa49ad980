//! What the target's engines say of the code they made: jitdumps that the target has mapped, the perf map in
//! its /tmp, and files that the user names. Files are kept open: they are read again at the end, when the
//! target and its file system may be gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::code::jitdump::{self, JitdumpError};
use crate::code::perf_map;
use crate::code::timeline::Timeline;
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
}

/// See the module.
#[derive(Debug, Default)]
pub struct Descriptions {
    sources: Vec<Source>,
    /// Files that cannot be used, so that each is tried once.
    refused: Vec<(u64, u64)>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    timeline: Timeline,
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

    /// Takes a file that the user names: a perf map when its name ends with `.map`, else a jitdump.
    ///
    /// # Errors
    /// See [`DescriptionError`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), DescriptionError> {
        self.add(path, |_| Ok(()))
    }

    /// Takes what the target has written since the last look: `jitdumps` that it has mapped, and its perf
    /// map. What cannot be used is among the [`Descriptions::problems`].
    pub fn look(&mut self, target: &Target, jitdumps: &[Region]) {
        let own = PathBuf::from(format!("/tmp/perf-{}.map", target.inner_pid()));
        let mut map = target.reach(&own);
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if map.symlink_metadata().as_ref().is_err_and(denied) && target.is_in_our_namespace() {
            map = own;
        }
        if map.symlink_metadata().is_ok_and(|data| data.is_file()) {
            let owner = target.owner();
            let added = self.add(&map, |data| {
                let trusted = data.uid() == 0 || Some(data.uid()) == owner;
                if trusted { Ok(()) } else { Err(DescriptionError::Stranger(map.clone(), target.pid())) }
            });
            self.problems.extend(added.err().map(|error| error.to_string()));
        }
        for path in jitdumps.iter().filter_map(|region| target.mapped_file(region)) {
            let added = self.add_file(&path);
            self.problems.extend(added.err().map(|error| error.to_string()));
        }
    }

    /// Jitdumps that are of another process than the one with this id, with that process.
    pub fn of_others(&self, pid: u32) -> impl Iterator<Item = (&Path, u32)> {
        let other = move |source: &Source| source.of.filter(|of| *of != pid);
        self.sources.iter().filter_map(move |source| Some((source.path.as_path(), other(source)?)))
    }

    /// Files of the target that cannot be used, and why.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    fn add(
        &mut self,
        path: &Path,
        check: impl FnOnce(&fs::Metadata) -> Result<(), DescriptionError>,
    ) -> Result<(), DescriptionError> {
        let wrong = |error| DescriptionError::Read(path.to_owned(), error);
        let identity = |data: &fs::Metadata| (data.dev(), data.ino());
        let named = identity(&fs::metadata(path).map_err(wrong)?);
        if self.refused.contains(&named) || self.sources.iter().any(|source| source.identity == named) {
            return Ok(());
        }
        self.refused.push(named);
        // Not to wait for a writer when it is a pipe.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(wrong)?;
        let data = file.metadata().map_err(wrong)?;
        if !data.is_file() {
            return Err(wrong(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
        }
        check(&data)?;
        let (path, identity) = (path.to_owned(), identity(&data));
        let mut source = Source { path, file, identity, timeline: Timeline::default(), taken: 0, of: None };
        source.read()?;
        self.refused.pop();
        self.sources.push(source);
        Ok(())
    }

    /// Reads all files again: their writers go on writing.
    pub fn read_again(&mut self) {
        for source in &mut self.sources {
            // What was read before stays.
            let _ = source.read();
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
    fn read(&mut self) -> Result<(), DescriptionError> {
        let mut bytes = Vec::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_end(&mut bytes))
            .map_err(|error| DescriptionError::Read(self.path.clone(), error))?;
        let mut timeline = Timeline::default();
        self.of = read(&self.path, &bytes, &mut timeline)?;
        // Both forms only grow; one that was written anew is handed on as a whole.
        if !timeline.loads().starts_with(&self.timeline.loads()[..self.taken]) {
            self.taken = 0;
        }
        self.timeline = timeline;
        Ok(())
    }
}

/// Adds what a file describes: a perf map when its name ends with `.map`, else a jitdump. Returns the process that a
/// jitdump says it is of.
///
/// # Errors
/// See [`DescriptionError`].
pub fn read_file(path: &Path, timeline: &mut Timeline) -> Result<Option<u32>, DescriptionError> {
    let bytes = fs::read(path).map_err(|error| DescriptionError::Read(path.to_owned(), error))?;
    read(path, &bytes, timeline)
}

fn read(path: &Path, bytes: &[u8], timeline: &mut Timeline) -> Result<Option<u32>, DescriptionError> {
    if path.extension().is_some_and(|extension| extension == "map") {
        perf_map::read(bytes, timeline);
        return Ok(None);
    }
    let read = jitdump::read(bytes, timeline);
    read.map(Some).map_err(|error| DescriptionError::Jitdump(path.to_owned(), error))
}
