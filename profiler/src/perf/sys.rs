//! The system calls of perf events, their filters, the mapping of a ring, and a thread's nice value. The only
//! file of this crate with unsafe code; it decides nothing.

#![expect(unsafe_code, reason = "system calls without a safe wrapper, and a ring that the kernel writes")]

use std::io;
use std::ops::Range;
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
/// `_IO('$', 0)`, `_IO('$', 1)`, `_IO('$', 5)`, `_IOW('$', 8, u32)`.
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;
const SET_OUTPUT: libc::c_ulong = 0x2405;
const SET_BPF: libc::c_ulong = 0x4004_2408;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// The destination in the lower half, the source in the upper.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// `union bpf_attr` of BPF_PROG_LOAD, up to what Linux 4.9 knows.
#[repr(C)]
#[derive(Debug, Default)]
struct ProgramAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
}

const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_OF_PERF_EVENT: u32 = 7;

/// Makes the calling thread give way to everybody else from now on. On Linux the nice value belongs to a
/// thread.
pub(crate) fn give_way() {
    // SAFETY: takes numbers only; `who` 0 names the calling thread. A refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// Opens an event of thread `tid` on processor `cpu`; -1 is any.
pub(crate) fn open(attributes: &Attributes, tid: i32, cpu: i32) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size` bytes of the structure, which is exactly ours, and keeps nothing.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes, tid, cpu, -1_i32, PERF_FLAG_FD_CLOEXEC)
    };
    descriptor(fd)
}

/// The result of a system call that makes a descriptor.
fn descriptor(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("a descriptor beyond i32"))?;
    // SAFETY: the kernel has just given this descriptor to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives the kernel a program that says of each sample of an event whether it counts.
pub(crate) fn load_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = ProgramAttributes {
        kind: PROGRAM_OF_PERF_EVENT,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgramAttributes::default()
    };
    let size = size_of::<ProgramAttributes>();
    // SAFETY: the kernel reads `size` bytes of the structure, `count` instructions and the license up to its zero,
    // all of which live during the call, and keeps copies.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_LOAD, &raw const attributes, size) };
    descriptor(fd)
}

/// Lets `program` choose the samples of `event`.
pub(crate) fn set_filter(event: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    control(event, SET_BPF, program.as_raw_fd())
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

/// The pages that the kernel writes records into. It writes while we read, but never between tail and head: only that
/// part is ever given out, and only until it is released.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    page: usize,
    data: usize,
    /// What is settled: from our tail to the kernel's head as it was seen last.
    settled: Range<u64>,
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
        let mut pages = Self { base, page, data, settled: 0..0 };
        let tail = pages.counter(DATA_TAIL).load(Ordering::Relaxed);
        pages.settled = tail..tail;
        Ok(pages)
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page is mapped as long as `self` lives, holds an aligned u64 at this offset,
        // and both sides use it atomically.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Sees what the kernel has written until now, and returns what is settled: positions that only rise.
    pub(crate) fn acquire(&mut self) -> Range<u64> {
        // Pairs with the kernel's barrier before it moves the head: what is written is seen.
        let head = self.counter(DATA_HEAD).load(Ordering::Acquire);
        // More than the ring holds is a ring that was overwritten: nothing of it is settled.
        let fits = head.checked_sub(self.settled.start).is_some_and(|length| length <= self.data as u64);
        self.settled.end = if fits { head } else { self.settled.start };
        self.settled.clone()
    }

    /// Gives everything before the head that was seen last back to the kernel. Takes `&mut self`: no slice is alive then.
    pub(crate) fn release(&mut self) {
        self.settled.start = self.settled.end;
        // Our reads are over before the kernel sees the tail.
        self.counter(DATA_TAIL).store(self.settled.end, Ordering::Release);
    }

    /// The bytes at these positions, in one piece, or in two where the ring ends; none when not all of them are settled.
    pub(crate) fn settled(&self, at: Range<u64>) -> Option<(&[u8], &[u8])> {
        if at.start < self.settled.start || at.end > self.settled.end || at.start > at.end {
            return None;
        }
        let length = (at.end - at.start) as usize;
        let index = (at.start % self.data as u64) as usize;
        let first = length.min(self.data - index);
        // SAFETY: the data pages follow the first page and are mapped as long as `self` lives. `index + first` is within
        // them, and so is the rest from their start on, since what is settled is no longer than the ring. The kernel
        // writes to none of these bytes before `release`, which needs `self` alone.
        unsafe {
            let data = self.base.as_ptr().add(self.page);
            Some((
                std::slice::from_raw_parts(data.add(index), first),
                std::slice::from_raw_parts(data, length - first),
            ))
        }
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
