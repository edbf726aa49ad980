//! Where a unix socket lies, whatever the length of its path.
//!
//! `sockaddr_un` holds 107 bytes. A longer path is reached through a file descriptor of its directory
//! (`/proc/self/fd/N/NAME`), which must stay open as long as the name is used.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// Bytes of a path in `sockaddr_un`, without the final zero.
const SUN_PATH: usize = 107;

/// A socket's directory, held open, and its name in there.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) directory: OwnedFd,
    pub(crate) name: OsString,
    /// What to bind or connect to.
    pub(crate) reach: PathBuf,
}

impl Address {
    /// Opens the directory of `path`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(parent, flags, Mode::empty())?;
        let reach = if path.as_os_str().as_bytes().len() <= SUN_PATH {
            path.to_owned()
        } else {
            Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
        };
        Ok(Self { directory, name: name.to_owned(), reach })
    }
}
