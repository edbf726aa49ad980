//! Reading files that somebody else names or may have put where they are looked for: a proxy names its modules, a
//! module its debug file and its sources, a profiled process its code maps. A pipe there would make the reader wait
//! for ever, a device has no end, and a file without blocks can have any size; the reader often is root.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens a file, without waiting for anybody.
///
/// # Errors
/// It cannot be opened, or is not a file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    Ok(file)
}

/// Reads a whole file as [`open`] opens it.
///
/// # Errors
/// It cannot be opened or read, or has more than `most` bytes ([`io::ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(open(path)?, most)
}

/// Reads what is left of an open file.
///
/// # Errors
/// It cannot be read, or has more than `most` bytes ([`io::ErrorKind::FileTooLarge`]).
pub fn read_open(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = file.metadata()?.len();
    if size <= most {
        // It may grow meanwhile, and some files of the kernel say that they have nothing.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if size.max(bytes.len() as u64) > most {
        let text = format!("it is larger than the {most} bytes that are read of such a file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn files_are_read_up_to_the_limit_and_nothing_else_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("wasmdbg-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        std::fs::write(path("small"), [1; 8]).unwrap();
        std::fs::write(path("large"), [1; 9]).unwrap();
        File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        let said = |name: &str| match read(&path(name), 8) {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(error) => error.to_string(),
        };
        let found = ["small", "large", "huge", "pipe", "device", "."].map(said);
        // It says that it has nothing.
        let kernel = read(Path::new("/proc/self/status"), 8).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        let (large, none) =
            ("it is larger than the 8 bytes that are read of such a file", "it is not a file");
        assert_eq!(found, ["8 bytes", large, large, none, none, none]);
        assert_eq!((kernel.kind(), &*kernel.to_string()), (io::ErrorKind::FileTooLarge, large));
    }
}
