//! Whether `wasmprof record` stops or changes the process that it records.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::ats::Ats;
use crate::bench::table::{Row, Verdict};
use crate::bench::variant::{LIGHT, Variant, request};
use crate::load::{Load, Plan};
use crate::process::product;
use crate::scratch::Scratch;

/// System calls by which one process can stop, signal or change another.
const TOUCHING: [&str; 11] = [
    "ptrace",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_send_signal",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "prlimit64",
];

/// The row: all system calls of a recorder, and the states of the server's threads meanwhile.
///
/// # Errors
/// When there is no strace, or the recording fails.
pub fn rows() -> Result<Vec<Row>> {
    let folder = Scratch::new("bench")?;
    let server = Variant::Wasm.options(folder.path())?.start()?;
    Variant::Wasm.check(&server)?;
    let load = Load::start(server.address(), &Plan::new(2, request(LIGHT)));
    let calls = folder.path().join("calls");
    let over = AtomicBool::new(false);
    let (output, looks) = std::thread::scope(|scope| {
        let looks = scope.spawn(|| look(&server, &over));
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&calls)
            .arg(product("wasmprof").unwrap_or_default())
            .args(["record", "-q", "-F", "999", "-d", "3", "-p", &server.pid().to_string(), "-o"])
            .arg(folder.path().join("bench.wasmprof"))
            .output()
            .context("cannot run strace: `tests/setup/install.sh bench` installs it");
        over.store(true, Ordering::Relaxed);
        (output, looks.join())
    });
    let (output, looks) = (output?, looks.map_err(|_| anyhow::anyhow!("the one who looks panicked"))?);
    ensure!(output.status.success(), "wasmprof: {}", String::from_utf8_lossy(&output.stderr));
    let lap = load.stop();
    ensure!(lap.errors == 0, "{:?}", lap.first_error);
    let calls = std::fs::read_to_string(calls)?;
    ensure!(calls.contains("perf_event_open("), "strace saw no recording");
    let touching: Vec<&str> = calls.lines().filter(|line| touches(line, server.pid())).collect();
    let clean = touching.is_empty() && looks.stopped == 0;
    let result = format!(
        "{}: {} of {} system calls of the recorder stop, signal or write to another process; {} of {} looks found one of \
         its threads stopped or traced",
        if clean { "none" } else { "SOME" },
        touching.len(),
        calls.lines().count(),
        looks.stopped,
        looks.count
    );
    let verdict = if clean { Verdict::Aim } else { Verdict::Missed };
    let mut rows = vec![Row::shown("stop of the process at attach", result).limits("none", "none", verdict)];
    rows.extend(touching.iter().map(|call| Row::shown(format!("  {call}"), "")));
    Ok(rows)
}

/// Whether a line of strace is such a call, or opens something of process `pid` for writing.
fn touches(line: &str, pid: u32) -> bool {
    // The line begins with the id of the thread that calls.
    let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
    let name = call.split('(').next().unwrap_or_default();
    let writes = call.contains("O_WRONLY") || call.contains("O_RDWR");
    // prlimit64(0, …) is the caller's own limit.
    TOUCHING.contains(&name) && !call.starts_with("prlimit64(0,")
        || writes && call.contains(&format!("\"/proc/{pid}/"))
}

/// What was seen of the threads.
struct Looks {
    count: u64,
    stopped: u64,
}

/// Looks at the state of every thread of the server, again and again.
fn look(server: &Ats, over: &AtomicBool) -> Looks {
    let mut looks = Looks { count: 0, stopped: 0 };
    while !over.load(Ordering::Relaxed) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid()));
        for task in tasks.into_iter().flatten().flatten() {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            looks.count += 1;
            looks.stopped += u64::from(is_held(&status));
        }
    }
    looks
}

/// Whether /proc/PID/task/TID/status is that of a stopped or traced thread.
fn is_held(status: &str) -> bool {
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    field("State:").starts_with(['T', 't']) || !matches!(field("TracerPid:"), "" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_touch_another_process_are_told_apart() {
        assert!(touches("12 ptrace(PTRACE_SEIZE, 7) = 0", 7));
        assert!(touches("12 openat(AT_FDCWD, \"/proc/7/mem\", O_RDWR|O_CLOEXEC) = 3", 7));
        assert!(!touches("12 openat(AT_FDCWD, \"/proc/7/mem\", O_RDONLY|O_CLOEXEC) = 3", 7));
        assert!(!touches("12 prlimit64(0, RLIMIT_NOFILE, NULL, {}) = 0", 7));
        assert!(!touches("12 openat(AT_FDCWD, \"/tmp/x\", O_WRONLY) = 3", 7));
    }

    #[test]
    fn a_thread_that_is_held_is_seen() {
        assert!(!is_held("Name:\tx\nState:\tS (sleeping)\nTracerPid:\t0\n"));
        assert!(is_held("State:\tt (tracing stop)\nTracerPid:\t9\n"));
        assert!(is_held("State:\tR (running)\nTracerPid:\t9\n"));
        assert!(is_held("State:\tT (stopped)\nTracerPid:\t0\n"));
    }
}
