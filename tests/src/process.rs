//! What the kernel tells about a process, and signals to one process by its id.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends a signal to exactly this process.
///
/// # Errors
/// When the process is gone or not ours.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(pid).context("a process id is positive")?;
    kill(Pid::from_raw(raw), signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// Whether a process with this id exists and is no zombie.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state is the field behind the name in brackets.
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => false,
    }
}

/// Whether a SIGSTOP has stopped every thread of the process.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state is the field behind the name in brackets.
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    })
}

/// Names of all threads, sorted.
///
/// # Errors
/// When the process is gone.
pub fn thread_names(pid: u32) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let tasks =
        std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))?;
    for task in tasks {
        // A thread may end while the folder is read.
        if let Ok(name) = std::fs::read_to_string(task?.path().join("comm")) {
            names.push(name.trim_end().to_string());
        }
    }
    names.sort();
    Ok(names)
}

/// How many threads it has.
///
/// # Errors
/// When the process is gone.
pub fn threads(pid: u32) -> Result<usize> {
    count(&format!("/proc/{pid}/task"))
}

/// How many descriptors it has open.
///
/// # Errors
/// When the process is gone, or not ours.
pub fn descriptors(pid: u32) -> Result<usize> {
    count(&format!("/proc/{pid}/fd"))
}

fn count(folder: &str) -> Result<usize> {
    Ok(std::fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?.count())
}

/// Resident memory in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("no process {pid}"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS in /proc")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("VmRSS without a number")?.parse()?;
    Ok(kilobytes * 1024)
}

/// CPU time of the whole process so far, user and system, in seconds.
///
/// # Errors
/// When the process is gone.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    let rest = stat.rsplit(')').next().context("no name in /proc/PID/stat")?;
    // utime and stime are fields 14 and 15 of the whole line; `rest` starts with field 3.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("no times in /proc/PID/stat")?;
    // The clock ticks of /proc are 100 a second on every Linux of today.
    Ok((user + system) / 100.0)
}

/// The processors on which this process may run.
///
/// # Errors
/// When there are more than such a set can hold.
pub fn processors() -> Result<Vec<usize>> {
    let own = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| own.is_set(*cpu) == Ok(true)).collect())
}

/// Gives all threads of a process one processor.
///
/// # Errors
/// When the process is gone, or may not use that one.
pub fn pin(pid: u32, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let tid = task?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(tid), &set)?;
    }
    Ok(())
}

/// How many executable anonymous mappings there are: code images of Wasm modules are such.
///
/// # Errors
/// When the process is gone.
pub fn code_images(pid: u32) -> Result<usize> {
    let maps =
        std::fs::read_to_string(format!("/proc/{pid}/maps")).with_context(|| format!("no process {pid}"))?;
    Ok(maps.lines().filter(|line| is_anonymous_code(line)).count())
}

fn is_anonymous_code(line: &str) -> bool {
    let mut fields = line.split_whitespace();
    let executable = fields.nth(1).is_some_and(|permissions| permissions.contains('x'));
    executable && fields.nth(3).is_none()
}

/// Where a finished build put one of the product's files, such as `wasmdbg`.
///
/// `WASMDBG_BIN_DIR` comes first, then the folder that this program was built into, then the
/// workspace's `target/release`.
///
/// # Errors
/// When no such file exists.
pub fn product(name: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("WASMDBG_BIN_DIR").map(PathBuf::from).into_iter().collect();
    if let Ok(own) = std::env::current_exe() {
        folders.extend(own.ancestors().skip(1).take(2).map(PathBuf::from));
    }
    folders.push(repository().join("target/release"));
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).with_context(|| {
        format!("{name} is not built: run `cargo build --workspace --release` (or `make test`, which does)")
    })
}

/// The folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::is_anonymous_code;

    #[test]
    fn a_mapping_counts_when_it_is_executable_and_has_no_name() {
        assert!(is_anonymous_code("7f00-7f10 r-xp 00000000 00:00 0 "));
        assert!(!is_anonymous_code("7f00-7f10 rw-p 00000000 00:00 0 "));
        assert!(!is_anonymous_code("7f00-7f10 r-xp 00000000 fe:00 21 /usr/lib/libc.so.6"));
        assert!(!is_anonymous_code("7f00-7f10 r-xp 00000000 00:00 0 [vdso]"));
    }
}
