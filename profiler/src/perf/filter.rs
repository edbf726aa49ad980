//! A program for the kernel that lets samples of one process pass. With it the clock of a whole processor can
//! be sampled, which goes on when threads come and go. The clock of a thread is set anew each time that the
//! thread sleeps or wakes, which costs more than the samples do once it is the next timer to run out.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use super::sys::{self, Instruction};

/// Classes, operations and sources of `linux/bpf.h` and `linux/bpf_common.h`, put together.
mod code {
    pub(super) const LOAD_WIDE: u8 = 0x18;
    pub(super) const LOAD_WORD: u8 = 0x61;
    pub(super) const ADD: u8 = 0x07;
    pub(super) const MOVE: u8 = 0xb7;
    pub(super) const MOVE_REGISTER: u8 = 0xbf;
    pub(super) const IF_NOT: u8 = 0x55;
    pub(super) const CALL: u8 = 0x85;
    pub(super) const EXIT: u8 = 0x95;
}

/// `bpf_get_ns_current_pid_tgid`, since Linux 5.7: the ids of the running task in its own pid namespace, if
/// that is the given one.
const IDS_IN_NAMESPACE: i32 = 120;

/// Loads the program for process `pid` and the threads it has and gets.
///
/// # Errors
/// The process has ended, or the kernel allows no such program: it takes CAP_BPF and CAP_PERFMON.
pub(crate) fn of_process(pid: u32) -> io::Result<OwnedFd> {
    let namespace = fs::metadata(format!("/proc/{pid}/ns/pid"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // Its id in the innermost namespace comes last.
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let inner = ids.split_whitespace().last().and_then(|id| id.parse().ok());
    let inner: i32 = inner.ok_or_else(|| io::Error::other("the process has no id"))?;
    sys::load_program(&program(device(namespace.dev()), namespace.ino(), inner))
}

/// As the kernel counts devices: 12 bits and 20 bits.
fn device(device: u64) -> u64 {
    u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device))
}

/// 1 when the task is of process `pid` in the namespace, 0 else.
fn program(device: u64, inode: u64, pid: i32) -> Vec<Instruction> {
    let one = |code, registers, offset, immediate| Instruction { code, registers, offset, immediate };
    let wide = |register, value: u64| {
        [one(code::LOAD_WIDE, register, 0, value as u32 as i32), one(0, 0, 0, (value >> 32) as i32)]
    };
    let mut program = Vec::new();
    program.extend(wide(1, device));
    program.extend(wide(2, inode));
    program.extend([
        // r3 = &{pid, tgid} on the stack, r4 = its size
        one(code::MOVE_REGISTER, 10 << 4 | 3, 0, 0),
        one(code::ADD, 3, 0, -8),
        one(code::MOVE, 4, 0, 8),
        one(code::CALL, 0, 0, IDS_IN_NAMESPACE),
        // In another namespace: to the last two.
        one(code::IF_NOT, 0, 4, 0),
        one(code::LOAD_WORD, 10 << 4, -4, 0),
        one(code::IF_NOT, 0, 2, pid),
        one(code::MOVE, 0, 0, 1),
        one(code::EXIT, 0, 0, 0),
        one(code::MOVE, 0, 0, 0),
        one(code::EXIT, 0, 0, 0),
    ]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_told_as_the_kernel_counts() {
        assert_eq!(device(libc::makedev(0, 4)), 4);
        assert_eq!(device(libc::makedev(8, 300)), 8 << 20 | 300);
    }

    #[test]
    fn jumps_end_at_the_answer_no() {
        let program = program(4, 0x1_f000_0000, 77);
        let jumps = program.iter().enumerate().filter(|(_, one)| one.code == code::IF_NOT);
        let ends: Vec<_> = jumps.map(|(at, one)| at + 1 + usize::from(one.offset.unsigned_abs())).collect();
        assert_eq!(ends, [program.len() - 2; 2]);
        assert_eq!((program[2].immediate as u32, program[3].immediate), (0xf000_0000, 1), "the inode");
    }
}
