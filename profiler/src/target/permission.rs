//! Why the kernel does not let us look at a process, and what to change. Owns the words: each names the user,
//! the capability or the sysctl that is missing.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User, geteuid};

/// What the kernel goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The process.
    pub pid: u32,
    /// Our effective user.
    pub user: u32,
    /// The effective user of the process.
    pub owner: Option<u32>,
    /// Its memory is its own, even for its user: it has changed its user, or its file has capabilities.
    pub protected: bool,
    /// kernel.perf_event_paranoid
    pub paranoid: Option<i64>,
    /// kernel.yama.ptrace_scope; 0 where there is none.
    pub ptrace_scope: u32,
    /// We run under a seccomp filter, as in a container.
    pub seccomp: bool,
}

/// The command that gives `wasmprof` what another user's process needs.
/// All that a recording can make use of: `setcap` replaces what the file had.
pub const CAPABILITIES: &str =
    "as root: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_syslog=ep $(command -v wasmprof)";

impl Facts {
    /// Asks /proc.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let user = geteuid().as_raw();
        let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |text: &str, name: &str, column: usize| -> Option<u32> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(column)?.parse().ok()
        };
        let owner = field(&status(&pid.to_string()), "Uid:", 1);
        // The files of a process that cannot be dumped belong to root.
        let files = fs::metadata(format!("/proc/{pid}/mem")).ok().map(|data| data.uid());
        let sysctl = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
        Self {
            pid,
            user,
            owner,
            protected: owner.is_some_and(|owner| owner != 0) && files == Some(0),
            paranoid: paranoid(),
            ptrace_scope: sysctl("yama/ptrace_scope").and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            seccomp: field(&status("self"), "Seccomp:", 0).is_some_and(|mode| mode != 0),
        }
    }

    /// What stands between us and the process itself.
    fn stranger(&self) -> Option<String> {
        let pid = self.pid;
        match self.owner {
            Some(owner) if owner != self.user && self.user != 0 => {
                let as_who = if owner == 0 { String::new() } else { format!(" or as {}", name(owner)) };
                Some(format!(
                    "process {pid} belongs to user {} and you are {}: run wasmprof as root{as_who}, or give it \
                     the capabilities ({CAPABILITIES})",
                    name(owner),
                    name(self.user)
                ))
            }
            // Root without the capability of a root.
            Some(_) if self.user == 0 => Some(format!(
                "this root has no CAP_SYS_PTRACE for process {pid}, as in a container: give it the capability \
                 (docker run --cap-add SYS_PTRACE --cap-add PERFMON)"
            )),
            _ if self.protected => Some(format!(
                "process {pid} is protected, since it has changed its user or its program has capabilities: run \
                 wasmprof as root, or give it the capabilities ({CAPABILITIES})"
            )),
            _ => None,
        }
    }

    /// Why the memory of the process, or the map of it, cannot be read.
    #[must_use]
    pub fn memory(&self) -> String {
        let why = match (self.stranger(), self.ptrace_scope) {
            (Some(why), 0..=2) => why,
            (_, 0) => format!(
                "the kernel refuses, as a security module or a container may: run wasmprof as root on the host, \
                 or give it the capabilities ({CAPABILITIES})"
            ),
            (None, scope @ 1..=2) => {
                let how = if scope == 1 { "as root: sysctl kernel.yama.ptrace_scope=0, or " } else { "" };
                format!("kernel.yama.ptrace_scope is {scope}: run wasmprof as root, or {how}{CAPABILITIES}")
            }
            (_, scope) => format!("kernel.yama.ptrace_scope is {scope}, which holds until the next boot"),
        };
        format!("no permission to read the memory of process {}: {why}", self.pid)
    }

    /// Why the kernel's own part of a sample is not there although the program's is.
    #[must_use]
    pub fn kernel(&self) -> String {
        match self.paranoid {
            Some(level) if level > 1 => format!(
                "kernel.perf_event_paranoid is {level}: as root: sysctl kernel.perf_event_paranoid=1, or \
                 {CAPABILITIES}"
            ),
            _ => String::from("this event has no samples of the kernel here"),
        }
    }

    /// Why `perf_event_open` failed with `error`.
    #[must_use]
    pub fn sampling(&self, error: &io::Error) -> String {
        if error.raw_os_error() == Some(libc::ENOSYS) {
            return String::from(
                "perf_event_open is not there: a container's seccomp filter hides it (docker run --security-opt \
                 seccomp=FILE with one that allows it), or the kernel has none (CONFIG_PERF_EVENTS)",
            );
        }
        let level = self.paranoid.unwrap_or_default();
        let why = if level > 2 && self.user != 0 {
            format!(
                "kernel.perf_event_paranoid is {level}: as root: sysctl kernel.perf_event_paranoid=2, or \
                 {CAPABILITIES}"
            )
        } else if self.seccomp {
            String::from(
                "a seccomp filter forbids perf_event_open, as a container's does: docker run --cap-add PERFMON \
                 --security-opt seccomp=FILE with one that allows it, or record from outside of the container",
            )
        } else if let Some(why) = self.stranger() {
            why
        } else {
            format!(
                "the kernel refuses perf_event_open ({error}), as a security module may: run wasmprof as root, or \
                 {CAPABILITIES}"
            )
        };
        format!("no permission to sample process {}: {why}", self.pid)
    }
}

/// A right that a process may have without being root's, by its number in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// To look into other processes.
    SysPtrace = 19,
    /// To sample any process.
    Perfmon = 38,
}

/// Whether this process has it.
#[must_use]
pub fn has(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    set.is_some_and(|set| set & 1 << capability as u32 != 0)
}

/// Why the kernel's functions have no names here, and what to change; none when they have.
#[must_use]
pub fn kernel_names() -> Option<String> {
    let mut line = [0; 16];
    let read = fs::File::open("/proc/kallsyms").and_then(|mut file| file.read_exact(&mut line));
    if read.is_err() {
        return Some(String::from("/proc/kallsyms cannot be read"));
    }
    // Hidden addresses are 0.
    if line != [b'0'; 16] {
        return None;
    }
    let sysctl = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let restrict = sysctl("kptr_restrict");
    let how = match restrict.trim() {
        "0" => format!(
            "kernel.perf_event_paranoid is above 1: as root: sysctl kernel.perf_event_paranoid=1, or {CAPABILITIES}"
        ),
        "1" => {
            format!("kernel.kptr_restrict is 1: as root: sysctl kernel.kptr_restrict=0, or {CAPABILITIES}")
        }
        _ => String::from(
            "kernel.kptr_restrict hides them from everybody: as root: sysctl kernel.kptr_restrict=0",
        ),
    };
    Some(format!("hidden, {how}"))
}

/// kernel.perf_event_paranoid
#[must_use]
pub fn paranoid() -> Option<i64> {
    fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

/// A user as people know him.
fn name(user: u32) -> String {
    match User::from_uid(Uid::from_raw(user)) {
        Ok(Some(found)) => found.name,
        _ => user.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One's own process, which may be sampled.
    fn own() -> Facts {
        Facts { pid: 77, user: 4_000_001, owner: Some(4_000_001), paranoid: Some(2), ..Facts::default() }
    }

    #[test]
    fn each_reason_names_what_to_change() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let check = |text: String, parts: &[&str]| {
            for part in parts {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        let other = Facts { owner: Some(0), ..own() };
        check(other.memory(), &["belongs to user root and you are 4000001", "cap_perfmon,cap_sys_ptrace"]);
        check(other.sampling(&denied), &["process 77 belongs to user root", "run wasmprof as root,"]);
        let third = Facts { owner: Some(4_000_002), ..own() };
        check(third.memory(), &["as root or as 4000002"]);
        let paranoid = Facts { paranoid: Some(3), ..own() };
        check(paranoid.sampling(&denied), &["sysctl kernel.perf_event_paranoid=2", "cap_perfmon"]);
        let protected = Facts { protected: true, ..own() };
        check(protected.memory(), &["is protected", "run wasmprof as root"]);
        let yama = Facts { ptrace_scope: 1, ..own() };
        check(yama.memory(), &["sysctl kernel.yama.ptrace_scope=0", "cap_sys_ptrace"]);
        check(Facts { ptrace_scope: 3, ..own() }.memory(), &["until the next boot"]);
        let contained = Facts { seccomp: true, ..own() };
        check(contained.sampling(&denied), &["seccomp filter forbids perf_event_open", "docker run"]);
        let missing = io::Error::from_raw_os_error(libc::ENOSYS);
        check(own().sampling(&missing), &["seccomp", "CONFIG_PERF_EVENTS"]);
        check(own().kernel(), &["sysctl kernel.perf_event_paranoid=1", "cap_perfmon"]);
        check(own().sampling(&denied), &["security module", "cap_perfmon"]);
        let rootless = Facts { user: 0, owner: Some(4_000_001), ..own() };
        check(rootless.memory(), &["CAP_SYS_PTRACE", "docker run --cap-add SYS_PTRACE"]);
    }

    #[test]
    fn this_process_is_its_own() {
        let facts = Facts::of(std::process::id());
        assert_eq!(facts.owner, Some(facts.user));
        assert!(facts.stranger().is_none_or(|why| facts.user == 0 || why.contains("protected")));
    }
}
