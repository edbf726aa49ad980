//! Where a result is written: a folder that is held open and a name in it. wasmprof often runs as root and writes into
//! folders of others, who may put links in its way, or another folder: a link is followed only if it is ours or root's,
//! a file is never opened through one, and nothing changes its place between two steps.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    /// A pipe or a device: it is written to as it is.
    special: bool,
}

/// As many links one after the other as the kernel follows.
const LINKS: usize = 40;

/// Names to try for a file that becomes the result when it is whole: one is left when a writer dies.
const PARTS: usize = 100;

impl Place {
    /// The place that a path names, behind its links.
    ///
    /// # Errors
    /// The folder is not there, or there is a link of another user.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let mut place = Self::open(&path)?;
            let Some(found) = place.look(AtFlags::AT_SYMLINK_NOFOLLOW)? else { return Ok(place) };
            if kind(&found) != SFlag::S_IFLNK {
                place.special = is_special(&found);
                return Ok(place);
            }
            if ![0, geteuid().as_raw()].contains(&found.st_uid) {
                bail!(
                    "{} is a link of another user (with the id {}), which is not followed: remove it, or name another file with -o",
                    path.display(),
                    found.st_uid
                );
            }
            // Links below /proc/self/fd lead to what has no path: /dev/stdout, where that is a pipe.
            if path.starts_with("/proc")
                && place.look(AtFlags::empty())?.is_some_and(|found| is_special(&found))
            {
                place.special = true;
                return Ok(place);
            }
            path = path.with_file_name(readlinkat(&place.folder, place.name.as_os_str())?);
        }
        bail!("{}: too many links", path.display());
    }

    fn open(path: &Path) -> Result<Self> {
        let name = path.file_name().context("the output's path names no file")?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), folder, name, special: false })
    }

    /// What is there.
    fn look(&self, how: AtFlags) -> Result<Option<FileStat>> {
        match fstatat(&self.folder, self.name.as_os_str(), how) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
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
        let links = if self.path.starts_with("/proc") { OFlag::empty() } else { OFlag::O_NOFOLLOW };
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
        if self.look(AtFlags::AT_SYMLINK_NOFOLLOW)?.is_none_or(|found| found.st_ino != own) {
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
    use std::io::Write;
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
