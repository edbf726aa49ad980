//! A call of the C library that no safe crate offers: one thread's nice value. Owns nothing else.

#![expect(unsafe_code, reason = "a libc call without a safe wrapper")]

use nix::libc;

/// Makes the calling thread give way to everybody else. On Linux the nice value belongs to a thread,
/// not to its process.
pub(crate) fn be_nice() {
    // SAFETY: takes numbers only; `who` 0 names the calling thread. A refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}
