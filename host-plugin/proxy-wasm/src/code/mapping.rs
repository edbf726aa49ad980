//! The executable mapping of a jitdump's first page, by which `perf record` learns that there is one.
//! Nothing reads or runs it.

#![expect(unsafe_code, reason = "an executable mapping, which perf records")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use nix::libc;

/// Mapped as long as it lives.
pub(super) struct Marker(NonNull<libc::c_void>);

// SAFETY: the mapping belongs to the process, and only `drop` uses the address.
unsafe impl Send for Marker {}

/// Of any size: the kernel maps whole pages.
const LENGTH: usize = 4096;

impl Marker {
    pub(super) fn map(file: &File) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: a new private mapping at an address that the kernel chooses; the file is kept by it.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), LENGTH, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        match NonNull::new(address) {
            Some(address) if address.as_ptr() != libc::MAP_FAILED => Ok(Self(address)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped, and nobody has a pointer into it.
        unsafe { libc::munmap(self.0.as_ptr(), LENGTH) };
    }
}
