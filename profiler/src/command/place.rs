//! Where a result is written: a folder that is held open and a name in it. wasmprof often runs as root and writes into
//! folders of others, who may put links in its way, or another folder: a link anywhere in the path is followed only if
//! it is ours or root's, a file is never opened through one, and nothing changes its place between two steps.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// Where a result goes: a name in a folder that is held open.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    /// A pipe or a device: it is written to as it is.
    special: bool,
}

/// A folder that is walked through, or written into by its names.
const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// As many links one after the other as the kernel follows.
const LINKS: usize = 40;

/// Names to try for a file that becomes the result when it is whole: one is left when a writer dies.
const PARTS: usize = 100;

impl Place {
    /// The place that a path names, after its links.
    ///
    /// # Errors
    /// The folder is not there, or there is a link of another user.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut walk = Walk { folder: nix::fcntl::open(".", FOLDER, Mode::empty())?, path: PathBuf::new() };
        let mut left = components(path);
        let mut links = 0;
        while let Some(step) = left.pop_front() {
            let target = if left.is_empty() && step != "/" && step != ".." {
                match walk.last(&step)? {
                    Last::Link(target) => Some(target),
                    Last::Place { special } => {
                        let path = walk.path.join(&step);
                        return Ok(Self { path, folder: walk.folder, name: step, special });
                    }
                }
            } else {
                walk.enter(&step)?
            };
            let Some(target) = target else { continue };
            links += 1;
            if links > LINKS {
                bail!("{}: too many links", path.display());
            }
            for step in components(&target).into_iter().rev() {
                left.push_front(step);
            }
        }
        bail!("the output's path names no file");
    }

    /// Whether it is neither a file nor a folder.
    pub(crate) fn is_special(&self) -> bool {
        self.special
    }

    fn open_file(&self, name: &OsStr, flags: OFlag) -> nix::Result<File> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        openat(&self.folder, name, flags, Mode::from_bits_truncate(0o666)).map(File::from)
    }

    /// A new file, never one that is there.
    fn create(&self, name: &OsStr) -> nix::Result<File> {
        self.open_file(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> nix::Result<()> {
        renameat(&self.folder, from, &self.folder, to)
    }

    fn remove(&self, name: &OsStr) -> nix::Result<()> {
        unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir)
    }

    /// A pipe or a device, to be written to.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open_special(&self) -> Result<File> {
        let links = if is_proc(&self.folder) { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        Ok(self.open_file(&self.name, OFlag::O_WRONLY | links)?)
    }

    /// Lets `write` fill a new file, which takes the place of what was there once it is whole.
    ///
    /// # Errors
    /// What was there is still there.
    pub(crate) fn replace(&self, write: impl FnOnce(File) -> Result<()>) -> Result<()> {
        let (part, file) = self.create_part()?;
        let written = write(file).and_then(|()| Ok(self.rename(&part, &self.name)?));
        if written.is_err() {
            let _ = self.remove(&part);
        }
        written
    }

    /// A file beside it under a name that nobody has taken.
    fn create_part(&self) -> Result<(OsString, File)> {
        for number in 0..PARTS {
            let mut part = self.name.clone();
            part.push(if number == 0 { ".part".to_owned() } else { format!(".part{number}") });
            match self.create(&part) {
                Ok(file) => return Ok((part, file)),
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("there are {PARTS} files {}.part… beside it: remove them", self.name.display());
    }

    /// Makes a file for a recording, locked as long as it is open, unless somebody else records into it. One that was
    /// there is kept under the second name, as perf does.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create_recording(&self) -> Result<(File, Option<OsString>)> {
        let taken = || {
            format!("another wasmprof is recording into {}: name another file with -o", self.path.display())
        };
        if self.special {
            return Ok((self.open_special()?, None));
        }
        let mut old = None;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        match self.open_file(&self.name, flags) {
            Ok(before) => {
                lock(&before).with_context(taken)?;
                // An empty one may have another name elsewhere: it is not written to either.
                if before.metadata()?.len() == 0 {
                    self.remove(&self.name)?;
                } else {
                    let mut kept = self.name.clone();
                    kept.push(".old");
                    self.rename(&self.name, &kept)?;
                    old = Some(kept);
                }
            }
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let file = match self.create(&self.name) {
            Err(Errno::EEXIST) => bail!(taken()),
            file => file?,
        };
        lock(&file).with_context(taken)?;
        // Another one may have found it before it was locked.
        let own = file.metadata()?.ino();
        let found = look(&self.folder, &self.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if found.is_none_or(|found| found.st_ino != own) {
            bail!(taken());
        }
        Ok((file, old))
    }

    /// Undoes [`Place::create_recording`].
    pub(crate) fn put_back(&self, old: Option<&OsStr>) {
        let _ = match old {
            _ if self.special => Ok(()),
            Some(old) => self.rename(old, &self.name),
            None => self.remove(&self.name),
        };
    }
}

/// The steps of a path, from the last that is known.
fn components(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

/// The way to a place: each step starts at the folder that the one before it holds.
struct Walk {
    folder: OwnedFd,
    path: PathBuf,
}

/// What the last step of a path names.
enum Last {
    Place { special: bool },
    Link(PathBuf),
}

impl Walk {
    /// Goes into a folder; where to go instead, if it is a link.
    fn enter(&mut self, step: &OsStr) -> Result<Option<PathBuf>> {
        let open = |how| openat(&self.folder, step, FOLDER | how, Mode::empty());
        let next = match open(OFlag::O_NOFOLLOW) {
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let target = self.read_link(step)?;
                // The kernel's own links lead to folders that may have no path here.
                if !is_proc(&self.folder) {
                    return Ok(Some(target));
                }
                open(OFlag::empty())?
            }
            next => next?,
        };
        self.folder = next;
        self.path.push(step);
        Ok(None)
    }

    fn last(&self, step: &OsStr) -> Result<Last> {
        let Some(found) = look(&self.folder, step, AtFlags::AT_SYMLINK_NOFOLLOW)? else {
            return Ok(Last::Place { special: false });
        };
        if kind(&found) != SFlag::S_IFLNK {
            return Ok(Last::Place { special: is_special(&found) });
        }
        let target = self.read_link(step)?;
        // Links below /proc/self/fd lead to what has no path: /dev/stdout, where that is a pipe.
        let led = if is_proc(&self.folder) { look(&self.folder, step, AtFlags::empty())? } else { None };
        if led.is_some_and(|found| is_special(&found)) {
            return Ok(Last::Place { special: true });
        }
        Ok(Last::Link(target))
    }

    /// Where a link leads, if it may be followed.
    fn read_link(&self, step: &OsStr) -> Result<PathBuf> {
        // It is held: another one that takes its place is not read.
        let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = openat(&self.folder, step, how, Mode::empty())?;
        let found = fstat(&link)?;
        if kind(&found) != SFlag::S_IFLNK {
            return Err(Errno::ENOTDIR.into());
        }
        if ![0, geteuid().as_raw()].contains(&found.st_uid) {
            bail!(
                "{} is a link of another user (with the id {}), which is not followed: remove it, or name another file with -o",
                self.path.join(step).display(),
                found.st_uid
            );
        }
        Ok(readlinkat(&link, "")?.into())
    }
}

/// What is there.
fn look(folder: &OwnedFd, name: &OsStr, how: AtFlags) -> Result<Option<FileStat>> {
    match fstatat(folder, name, how) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_proc(folder: &OwnedFd) -> bool {
    fstatfs(folder).is_ok_and(|data| data.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Held as long as the file is open.
fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // A file system without locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits())
}

fn is_special(found: &FileStat) -> bool {
    ![SFlag::S_IFREG, SFlag::S_IFDIR].contains(&kind(found))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::{lchown, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("wasmprof-place-{}-{next}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(place: &Place, text: &str) {
        place.replace(|mut file| Ok(file.write_all(text.as_bytes())?)).unwrap();
    }

    #[test]
    fn a_part_that_is_there_is_neither_written_to_nor_followed() {
        let folder = Folder::new();
        fs::write(folder.path("precious"), "precious").unwrap();
        symlink("precious", folder.path("out.svg.part")).unwrap();
        fs::write(folder.path("out.svg.part1"), "of a crash").unwrap();
        write(&Place::of(&folder.path("out.svg")).unwrap(), "new");
        assert_eq!((folder.text("precious"), folder.text("out.svg")), ("precious".into(), "new".into()));
        assert_eq!(folder.text("out.svg.part1"), "of a crash");
        assert_eq!(folder.names(), ["out.svg", "out.svg.part", "out.svg.part1", "precious"]);
    }

    #[test]
    fn a_link_is_followed_if_it_is_ours() {
        let folder = Folder::new();
        fs::write(folder.path("precious"), "precious").unwrap();
        symlink("precious", folder.path("second")).unwrap();
        symlink("second", folder.path("out.svg")).unwrap();
        write(&Place::of(&folder.path("out.svg")).unwrap(), "new");
        assert_eq!(folder.text("precious"), "new");
        assert!(folder.path("out.svg").is_symlink() && folder.path("second").is_symlink());
        if !geteuid().is_root() {
            return;
        }
        for link in ["second", "out.svg"] {
            lchown(folder.path(link), Some(65_534), None).unwrap();
            let error = Place::of(&folder.path("out.svg")).unwrap_err().to_string();
            assert!(error.contains(link) && error.contains("a link of another user"), "{error}");
            lchown(folder.path(link), Some(0), None).unwrap();
        }
    }

    #[test]
    fn a_link_on_the_way_is_followed_if_it_is_ours() {
        let (folder, other) = (Folder::new(), Folder::new());
        fs::create_dir(folder.path("results")).unwrap();
        fs::create_dir(other.path("below")).unwrap();
        symlink("results/../second", folder.path("first")).unwrap();
        symlink(other.path("below"), folder.path("second")).unwrap();
        symlink("first/../out.svg", folder.path("last")).unwrap();
        write(&Place::of(&folder.path("first/.//out.svg")).unwrap(), "below");
        write(&Place::of(&folder.path("last")).unwrap(), "beside it");
        assert_eq!(
            (other.text("below/out.svg"), other.text("out.svg")),
            ("below".into(), "beside it".into())
        );
        let error = |name| Place::of(&folder.path(name)).map(|place| place.path).unwrap_err().to_string();
        assert!(error("last/out.svg").contains("ENOTDIR") && error("none/out.svg").contains("ENOENT"));
        if !geteuid().is_root() {
            return;
        }
        for link in ["second", "first"] {
            lchown(folder.path(link), Some(65_534), None).unwrap();
            for name in ["first/out.svg", "last"] {
                let error = error(name);
                assert!(error.contains(link) && error.contains("a link of another user"), "{error}");
            }
            lchown(folder.path(link), Some(0), None).unwrap();
        }
    }

    #[test]
    fn links_in_a_circle_have_an_end() {
        let folder = Folder::new();
        symlink("circle", folder.path("circle")).unwrap();
        for name in ["circle", "circle/out.svg"] {
            assert!(Place::of(&folder.path(name)).unwrap_err().to_string().contains("too many links"));
        }
    }

    #[test]
    fn folders_and_pipes_without_a_path_are_reached_by_the_kernels_links() {
        use std::os::fd::AsRawFd;
        let folder = Folder::new();
        let number = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let held = File::open(&folder.0).unwrap();
        write(&Place::of(&Path::new(&number(&held)).join("out.svg")).unwrap(), "new");
        assert_eq!(folder.text("out.svg"), "new");
        let (from, to) = nix::unistd::pipe().unwrap();
        let to = File::from(to);
        let place = Place::of(Path::new(&number(&to))).unwrap();
        assert!(place.is_special());
        place.open_special().unwrap().write_all(b"new").unwrap();
        let mut read = [0; 3];
        File::from(from).read_exact(&mut read).unwrap();
        assert_eq!(&read, b"new");
    }

    #[test]
    fn a_folder_that_is_swapped_meanwhile_changes_nothing() {
        let (folder, other) = (Folder::new(), Folder::new());
        fs::create_dir(folder.path("results")).unwrap();
        fs::write(other.path("out.svg"), "precious").unwrap();
        let place = Place::of(&folder.path("results/out.svg")).unwrap();
        let swap = |mut file: File| -> Result<()> {
            file.write_all(b"new")?;
            fs::rename(folder.path("results"), folder.path("moved"))?;
            Ok(symlink(&other.0, folder.path("results"))?)
        };
        place.replace(swap).unwrap();
        assert_eq!((other.text("out.svg"), other.names().len()), ("precious".into(), 1));
        assert_eq!(folder.text("moved/out.svg"), "new");
    }

    #[test]
    fn a_recording_is_a_new_file_whatever_is_there() {
        let folder = Folder::new();
        // Other names of the files of somebody else, one of them empty.
        for (name, text) in [("full", "precious"), ("empty", "")] {
            fs::write(folder.path(name), text).unwrap();
            fs::hard_link(folder.path(name), folder.path("out.wasmprof")).unwrap();
            let place = Place::of(&folder.path("out.wasmprof")).unwrap();
            let (mut file, old) = place.create_recording().unwrap();
            file.write_all(b"new").unwrap();
            assert_eq!((folder.text(name), folder.text("out.wasmprof")), (text.into(), "new".into()));
            assert_eq!(old.is_some(), !text.is_empty());
            let error = place.create_recording().unwrap_err().to_string();
            assert!(error.contains("another wasmprof is recording into"), "{error}");
            place.put_back(old.as_deref());
            assert_eq!(folder.path("out.wasmprof").exists(), old.is_some(), "as before");
            let _ = fs::remove_file(folder.path("out.wasmprof"));
        }
    }
}
