//! The system calls of perf events, the mapping of a ring, and a thread's nice value. The only file of this
//! crate with unsafe code; it decides nothing.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// `struct perf_event_attr` up to PERF_ATTR_SIZE_VER5.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) kind: u32,
    pub(crate) size: u32,
    pub(crate) config: u64,
    pub(crate) sample_period_or_freq: u64,
    pub(crate) sample_type: u64,
    pub(crate) read_format: u64,
    pub(crate) flags: u64,
    pub(crate) wakeup: u32,
    pub(crate) breakpoint_type: u32,
    pub(crate) config1: u64,
    pub(crate) config2: u64,
    pub(crate) branch_sample_type: u64,
    pub(crate) sample_regs_user: u64,
    pub(crate) sample_stack_user: u32,
    pub(crate) clock: i32,
    pub(crate) sample_regs_intr: u64,
    pub(crate) aux_watermark: u32,
    pub(crate) sample_max_stack: u16,
    pub(crate) reserved: u16,
}

const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `_IO('$', 0)`, `_IO('$', 1)`, `_IO('$', 5)`.
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;
const SET_OUTPUT: libc::c_ulong = 0x2405;

/// Makes the calling thread give way to everybody else from now on. On Linux the nice value belongs to a thread.
pub(crate) fn give_way() {
    // SAFETY: takes numbers only; `who` 0 names the calling thread. A refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// Opens an event of thread `tid` on processor `cpu`.
pub(crate) fn open(attributes: &Attributes, tid: i32, cpu: i32) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size` bytes of the structure, which is exactly ours, and keeps nothing.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes, tid, cpu, -1_i32, PERF_FLAG_FD_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("a descriptor beyond i32"))?;
    // SAFETY: the kernel has just given this descriptor to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets `event` write into the ring of `ring`.
pub(crate) fn set_output(event: &OwnedFd, ring: &OwnedFd) -> io::Result<()> {
    control(event, SET_OUTPUT, ring.as_raw_fd())
}

/// Starts or ends counting.
pub(crate) fn enable(event: &OwnedFd, on: bool) -> io::Result<()> {
    control(event, if on { ENABLE } else { DISABLE }, 0)
}

fn control(event: &OwnedFd, request: libc::c_ulong, argument: i32) -> io::Result<()> {
    // SAFETY: these requests take an integer and touch no memory of ours.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request, libc::c_long::from(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Byte offsets of `data_head`, `data_tail` and `data_offset` in `struct perf_event_mmap_page`.
const DATA_HEAD: usize = 0x400;
const DATA_TAIL: usize = 0x408;

/// The pages that the kernel writes records into.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    page: usize,
    data: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `Pages` has the only pointer to it.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps the ring of `event`; `data` bytes, a power of two and at least a page.
    pub(crate) fn map(event: &OwnedFd, data: usize) -> io::Result<Self> {
        let page = page_size();
        if !data.is_power_of_two() || data < page {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a ring is a power of two of pages"));
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = event.as_raw_fd();
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), page + data, protection, libc::MAP_SHARED, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { base, page, data })
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page is mapped as long as `self` lives, holds an aligned u64 at this offset,
        // and both sides use it atomically.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// How far the kernel has written.
    pub(crate) fn head(&self) -> u64 {
        self.counter(DATA_HEAD).load(Ordering::Acquire)
    }

    /// How far we have read.
    pub(crate) fn tail(&self) -> u64 {
        self.counter(DATA_TAIL).load(Ordering::Relaxed)
    }

    /// Gives everything before `tail` back to the kernel. Takes `&mut self`: no slice is alive then.
    pub(crate) fn release(&mut self, tail: u64) {
        self.counter(DATA_TAIL).store(tail, Ordering::Release);
    }

    /// The ring's bytes. Only those between tail and head are settled; the caller reads no others.
    pub(crate) fn data(&self) -> &[u8] {
        // SAFETY: the data pages follow the first page and are mapped as long as `self` lives. The kernel
        // writes only outside tail..head, which `Ring::drain` never reads.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.page), self.data) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; no slice of it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.page + self.data) };
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    // SAFETY: no arguments that could be wrong.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
