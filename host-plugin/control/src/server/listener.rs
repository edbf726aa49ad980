//! The socket in the file system: made without a moment of wrong permissions, never on top of a socket
//! that answers, and removed at the end if it is still this one.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::AtFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::wire::address::Address;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A socket of this name has a listener, whether that accepts connections or not.
    #[error(
        "{path} is in use: another process listens there; give this proxy a socket path of its own, or end that \
         process"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has this name.
    #[error("{path} exists and is no socket: remove it or choose another socket path")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot listen at {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Who may open the socket. Who may use it is decided by [`super::Service::allow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600: the proxy's user and root.
    Owner,
    /// Mode 0666: anybody; the peer's credentials decide alone.
    Everybody,
}

/// A listening socket; removed from the file system when dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    address: Address,
    path: PathBuf,
    /// Device and inode of our file, so that a successor's is left alone.
    file: (u64, u64),
}

impl Listener {
    /// Listens at `path`, which may be of any length (its last part at most 80 bytes or so). A socket
    /// that nobody listens at is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path, access: Access) -> Result<Self, BindError> {
        let io = |source: io::Error| BindError::Io { path: path.to_owned(), source };
        let address = Address::of(path).map_err(io)?;
        clear(path, &address)?;
        let socket = make(&address, access).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { path: path.to_owned() },
            _ => io(error),
        })?;
        let status = stat(&address).map_err(io)?;
        Ok(Self { socket, file: (status.st_dev, status.st_ino), address, path: path.to_owned() })
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if stat(&self.address).is_ok_and(|status| (status.st_dev, status.st_ino) == self.file) {
            let _ =
                unlinkat(&self.address.directory, self.address.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn stat(address: &Address) -> io::Result<FileStat> {
    Ok(fstatat(&address.directory, address.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// Removes a dead socket that has our name.
fn clear(path: &Path, address: &Address) -> Result<(), BindError> {
    let io = |source: io::Error| BindError::Io { path: path.to_owned(), source };
    match stat(address) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(status) if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    // Without a wait: the start of a proxy comes here.
    match address.connect(Duration::ZERO) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unlinkat(&address.directory, address.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
                .or_else(|error| if error == nix::Error::ENOENT { Ok(()) } else { Err(error) })
                .map_err(|error| io(error.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or alive and full or closed to us.
        _ => Err(BindError::InUse { path: path.to_owned() }),
    }
}

fn make(address: &Address, access: Access) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Linux gives the file the socket inode's mode less the umask: narrow from its first moment.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(&address.reach)?)?;
    if access == Access::Everybody {
        let everybody = Mode::from_bits_truncate(0o666);
        fchmodat(&address.directory, address.name.as_os_str(), everybody, FchmodatFlags::FollowSymlink)?;
    }
    listen(&socket, Backlog::new(64)?)?;
    Ok(UnixListener::from(socket))
}
