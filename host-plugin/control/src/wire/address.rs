//! Where a unix socket lies, whatever the length of its path, and a connection to it that waits no longer
//! than it may.
//!
//! `sockaddr_un` holds 107 bytes. A longer path is reached through a file descriptor of its directory
//! (`/proc/self/fd/N/NAME`), which must stay open as long as the name is used.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
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

    /// Connects. While the backlog of the listener is full it waits, at most for `patience`: a listener that
    /// does not accept would keep a plain `connect` for ever.
    ///
    /// # Errors
    /// The kind is `WouldBlock` when the listener has not made room in time.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<UnixStream> {
        let unconnected = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = UnixStream::from(unconnected);
        // The limit of writes is that of a unix socket's `connect` too; zero would mean none.
        stream.set_write_timeout(Some(patience.max(Duration::from_micros(1))))?;
        let address = UnixAddr::new(&self.reach)?;
        while let Err(error) = connect(stream.as_raw_fd(), &address) {
            if error != nix::Error::EINTR {
                return Err(error.into());
            }
        }
        stream.set_write_timeout(None)?;
        Ok(stream)
    }
}
