//! Two calls of the C library that no safe crate offers: one thread's nice value, and the heap's unused
//! pages. Owns nothing else.

#![expect(unsafe_code, reason = "libc calls without a safe wrapper")]

use nix::libc;

/// Makes the calling thread give way to everybody else. On Linux the nice value belongs to a thread,
/// not to its process.
pub(crate) fn be_nice() {
    // SAFETY: takes numbers only; `who` 0 names the calling thread. A refusal changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// Gives the heap's unused pages back to the system: what a debug lane took shall not stay.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: glibc allows it at any time on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
