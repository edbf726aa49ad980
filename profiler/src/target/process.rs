//! The process that is profiled, seen from outside: its memory map, its memory, its names. Reads /proc
//! only; never stops or changes it.

use std::fs::{self, File};
use std::io::{self, IoSliceMut, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::limits;
use crate::target::permission::Facts;

/// A running process.
#[derive(Debug)]
pub struct Target {
    pid: u32,
    memory: Memory,
}

/// The ways to read another process's memory.
#[derive(Debug)]
enum Memory {
    /// /proc/PID/mem
    File(File),
    /// `process_vm_readv`: the file belongs to the process's user, and CAP_SYS_PTRACE alone does not open it.
    Calls,
    /// It may not be read.
    Closed,
}

/// Why a process cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No such process.
    #[error("there is no process {0}")]
    Gone(u32),
    /// It is there, and /proc does not show it.
    #[error(
        "process {0} is another user's and hidden (/proc is mounted with hidepid): run wasmprof as root, or as root: mount -o remount,hidepid=0 /proc"
    )]
    Hidden(u32),
    /// The id of a thread that is not its process's first one.
    #[error("{0} is a thread of process {1}: use -p {1}, all its threads are sampled")]
    Thread(u32, u32),
    /// It has no memory of its own.
    #[error(
        "process {0} has no program: it is a thread of the kernel, or has ended and waits for its parent (a zombie)"
    )]
    NoProgram(u32),
    /// Something else.
    #[error("process {0}: {1}")]
    Other(u32, io::Error),
}

/// A line of /proc/PID/maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    /// `r-x`
    pub executable: bool,
    /// Readable.
    pub readable: bool,
    /// Offset in the file.
    pub offset: u64,
    /// The file's inode; 0 for anonymous memory.
    pub inode: u64,
    /// Major and minor number of the device that has the file.
    pub device: (u32, u32),
    /// The file, `[heap]`, or nothing.
    pub path: String,
}

impl Target {
    /// Opens a process. That its memory may not be read is no error yet, see [`Target::refusal`].
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn open(pid: u32) -> Result<Self, TargetError> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        if let Some(group) = group.filter(|group| *group != pid) {
            return Err(TargetError::Thread(pid, group));
        }
        match File::open(format!("/proc/{pid}/mem")) {
            Ok(memory) => Ok(Self { pid, memory: Memory::File(memory) }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // Nothing lies at address 0: whether the call is allowed is asked first.
                let allowed = call(pid, 0, &mut [0]) == Err(nix::Error::EFAULT);
                Ok(Self { pid, memory: if allowed { Memory::Calls } else { Memory::Closed } })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let known = i32::try_from(pid)
                    .is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(nix::Error::EPERM));
                Err(if known { TargetError::Hidden(pid) } else { TargetError::Gone(pid) })
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(TargetError::NoProgram(pid)),
            Err(error) => Err(TargetError::Other(pid, error)),
        }
    }

    /// Whether it is stopped, by a signal or by a debugger.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| state.trim_start().starts_with(['T', 't']))
    }

    /// Whether its memory may be read.
    #[must_use]
    pub fn can_read(&self) -> bool {
        !matches!(self.memory, Memory::Closed)
    }

    /// Why its memory may not be read and what to change; none when it may be.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        (!self.can_read()).then(|| Facts::of(self.pid).memory())
    }

    /// Its id here.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its id in its own pid namespace: the one that it writes into file names.
    #[must_use]
    pub fn inner_pid(&self) -> u32 {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.and_then(|ids| ids.split_whitespace().last()?.parse().ok()).unwrap_or(self.pid)
    }

    /// Whether it lives in our pid namespace, where its id is one and the same.
    #[must_use]
    pub fn is_in_our_namespace(&self) -> bool {
        let status = fs::read_to_string(self.proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.is_none_or(|ids| ids.split_whitespace().count() == 1)
    }

    /// The user whose process it is.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        let status = fs::read_to_string(self.proc("status")).ok()?;
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        // The effective one: files that it makes belong to it.
        ids.split_whitespace().nth(1)?.parse().ok()
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// A path of the target's file system as this process reaches it.
    #[must_use]
    pub fn reach(&self, path: &Path) -> PathBuf {
        self.proc("root").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The target's file system as people reach it: `/` when it is ours, or when nobody tells us.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let differs = |what: &str| {
            let (theirs, ours) =
                (fs::read_link(self.proc(what)), fs::read_link(format!("/proc/self/{what}")));
            theirs.is_ok_and(|theirs| ours.is_ok_and(|ours| theirs != ours))
        };
        if differs("ns/mnt") || differs("root") { self.proc("root") } else { PathBuf::from("/") }
    }

    /// The file of a region, if it is still the one that is mapped.
    #[must_use]
    pub fn mapped_file(&self, region: &Region) -> Option<PathBuf> {
        let path = region.path.strip_suffix(" (deleted)").unwrap_or(&region.path);
        let is_it = |path: &PathBuf| fs::metadata(path).map(|data| data.ino() == region.inode);
        let reached = self.reach(Path::new(path));
        match is_it(&reached) {
            Ok(true) => return Some(reached),
            // Who may not look at the process's file system may have the same one: then its device is the same too.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let own = PathBuf::from(path);
                let is_same = |data: fs::Metadata| {
                    let device = (libc::major(data.dev()), libc::minor(data.dev()));
                    (data.ino(), device) == (region.inode, region.device)
                };
                if fs::metadata(&own).is_ok_and(is_same) {
                    return Some(own);
                }
            }
            _ => {}
        }
        // Replaced or deleted: the mapping itself leads to the old file (with CAP_CHECKPOINT_RESTORE).
        let link = self.proc(&format!("map_files/{:x}-{:x}", region.start, region.end));
        is_it(&link).is_ok_and(|same| same).then_some(link)
    }

    /// The memory map, by rising address, up to [`limits::MEMORY_MAP`].
    ///
    /// # Errors
    /// The process has ended, or another user's.
    pub fn regions(&self) -> io::Result<Vec<Region>> {
        let mut text = Vec::new();
        File::open(self.proc("maps"))?.take(limits::MEMORY_MAP).read_to_end(&mut text)?;
        // A line that is cut off names another file, or none.
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        Ok(String::from_utf8_lossy(&text[..whole]).lines().filter_map(parse_region).collect())
    }

    /// Reads memory; shorter than `length` where it ends.
    #[must_use]
    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            let (part, at) = (&mut bytes[done..], address + done as u64);
            let count = match &self.memory {
                Memory::File(file) => file.read_at(part, at).unwrap_or(0),
                Memory::Calls => call(self.pid, at, part).unwrap_or(0),
                Memory::Closed => 0,
            };
            if count == 0 {
                break;
            }
            done += count;
        }
        bytes.truncate(done);
        bytes
    }

    /// Its command line, for the recording.
    #[must_use]
    pub fn command(&self) -> String {
        let bytes = fs::read(self.proc("cmdline")).unwrap_or_default();
        let words = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect::<Vec<_>>();
        words.join(" ").trim_end().to_owned()
    }

    /// Files that the command line or the working directory names and that end with `.wasm`, at most
    /// [`limits::MODULE_FILES`].
    #[must_use]
    pub fn named_modules(&self) -> Vec<PathBuf> {
        let bytes = fs::read(self.proc("cmdline")).unwrap_or_default();
        let directory = self.proc("cwd");
        let words = bytes.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
        let mut words: Vec<&str> =
            words.flat_map(|word| word.split('=')).filter(|word| word.ends_with(".wasm")).collect();
        words.sort_unstable();
        words.dedup();
        words
            .into_iter()
            .take(limits::MODULE_FILES)
            .map(
                |word| if word.starts_with('/') { self.reach(Path::new(word)) } else { directory.join(word) },
            )
            .filter(|path| path.is_file())
            .collect()
    }

    /// Name of a thread.
    #[must_use]
    pub fn thread_name(&self, tid: u32) -> Option<String> {
        let name = fs::read_to_string(self.proc(&format!("task/{tid}/comm"))).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// CPU time so far: in the program, and in the kernel for it, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> Option<(f64, f64)> {
        let text = fs::read_to_string(self.proc("stat")).ok()?;
        // Behind the name, which may hold anything: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        // USER_HZ is 100 on every platform that this runs on.
        Some((ticks(11)? / 100.0, ticks(12)? / 100.0))
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let state = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        state.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }
}

/// Reads memory of a process by a system call.
fn call(pid: u32, address: u64, out: &mut [u8]) -> nix::Result<usize> {
    let pid = i32::try_from(pid).map_err(|_| nix::Error::ESRCH)?;
    let base = usize::try_from(address).map_err(|_| nix::Error::EFAULT)?;
    let from = RemoteIoVec { base, len: out.len() };
    process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(out)], &[from])
}

fn parse_region(line: &str) -> Option<Region> {
    let mut rest = line;
    let mut column = || {
        rest = rest.trim_start_matches(' ');
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        (!word.is_empty()).then_some(word)
    };
    let (start, end) = column()?.split_once('-')?;
    let permissions = column()?.as_bytes();
    let offset = u64::from_str_radix(column()?, 16).ok()?;
    let (major, minor) = column()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = (number(major)?, number(minor)?);
    let inode = column()?.parse().ok()?;
    Some(Region {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        readable: permissions.first() == Some(&b'r'),
        executable: permissions.get(2) == Some(&b'x'),
        offset,
        inode,
        device,
        path: rest.trim_start_matches(' ').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_map_are_read() {
        let line = "7f00aa000000-7f00aa001000 r-xp 00002000 08:01 123   /usr/lib/a b.so (deleted)";
        let region = parse_region(line).unwrap();
        assert_eq!((region.start, region.end, region.offset), (0x7f00_aa00_0000, 0x7f00_aa00_1000, 0x2000));
        assert!(region.executable && region.readable);
        assert_eq!((region.inode, region.path.as_str()), (123, "/usr/lib/a b.so (deleted)"));
        assert_eq!(parse_region("7f00-7f01 rw-p 00000000 00:00 0").unwrap().path, "");
        assert_eq!(parse_region("nonsense"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let target = Target::open(std::process::id()).unwrap();
        let word = [0xa5_u8; 16];
        assert_eq!(target.read(word.as_ptr() as u64, 16), word);
        assert!(target.read(0, 8).is_empty());
        let by_calls = Target { pid: target.pid, memory: Memory::Calls };
        assert_eq!(by_calls.read(word.as_ptr() as u64, 16), word);
        assert!(by_calls.read(0, 8).is_empty());
        assert!(target.is_alive());
        assert_eq!((target.inner_pid(), target.refusal()), (std::process::id(), None));
    }
}
