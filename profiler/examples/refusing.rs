//! Runs a program under a seccomp filter that refuses a system call, as a container's does. For tests.
//!
//!     refusing perf_event_open|process_vm_readv ERRNO PROGRAM [ARGUMENT…]

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Instructions of the classic BPF: load a word, compare, return.
const LOAD: u16 = 0x20;
const IS_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let usage = || io::Error::other("usage: refusing SYSTEM_CALL ERRNO PROGRAM [ARGUMENT…]");
    let call = match arguments.next().as_ref().and_then(|name| name.to_str()) {
        Some("perf_event_open") => libc::SYS_perf_event_open,
        Some("process_vm_readv") => libc::SYS_process_vm_readv,
        _ => return Err(usage()),
    };
    let errno = arguments.next().and_then(|errno| errno.to_str()?.parse::<u32>().ok()).ok_or_else(usage)?;
    let program = arguments.next().ok_or_else(usage)?;
    refuse(call, errno)?;
    Err(Command::new(program).args(arguments).exec())
}

/// Lets `call` fail with `errno` from now on, for this process and what it becomes.
fn refuse(call: libc::c_long, errno: u32) -> io::Result<()> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        // The number of the system call is the first word of what a filter sees.
        step(LOAD, 0, 0, 0),
        step(IS_EQUAL, 0, 1, call as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: integers alone.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies the steps, which live until it has.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
