//! Finds the control sockets of running proxies, for `wasmdbg ps` and for an attach by pid.
//!
//! The search reads `/proc` only: it connects to nothing and needs no registry that could be out of date. A socket
//! is ours when a process that has the plugin mapped listens at it; its address is translated into this
//! process's view of the file system. Where several can be it, [`greet_first`] asks them.

mod ask;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

pub use self::ask::{Greeted, MAX_ASKED, NobodyGreeted, greet_first};

/// The control socket's file name unless the settings give another.
pub const SOCKET_NAME: &str = "wasmdbg.sock";

/// File names under which the plugin is loaded.
const PLUGIN_NAMES: [&str; 2] = ["wasmdbg.so", "libwasmdbg_ats.so"];

/// The program whose `run` is a proxy with the plugin in it. Its other commands listen at no unix socket.
const COMMAND: &str = "wasmdbg";

/// Sockets that the proxy itself listens at; never ours.
const HOST_SOCKETS: [&str; 4] = ["mgmtapi.sock", "eventapi.sock", "processerver.sock", "jsonrpc20.sock"];

/// `__SO_ACCEPTCON` in the flags column of `/proc/net/unix`: the socket listens.
const LISTENING: u32 = 0x1_0000;

/// Follows the name of a file that has been replaced or removed.
const DELETED: &[u8] = b" (deleted)";

/// Of `/proc/PID/stat`, a second: Linux shows times in hundredths whatever its clock does.
const TICKS: u64 = 100;

/// Seconds for which a process without a socket may still be starting.
const YOUNG: u64 = 60;

/// A process that has, or seems to have, the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its process id here; unknown when only its socket is visible to this user.
    pub pid: Option<u32>,
    /// Its program's file name: `traffic_server`.
    pub process: Option<String>,
    /// Where its control socket is, as far as can be seen.
    pub socket: Socket,
}

/// Where a control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// Connect to one of these; the first that greets is it. Usually there is one.
    At(Vec<PathBuf>),
    /// The plugin is loaded and listens nowhere: `control.enabled: false`, or it has just started.
    Closed {
        /// Which of them it seems to be and what to do.
        reason: String,
    },
    /// This user may not look.
    Hidden {
        /// What stands in the way and what to do.
        reason: String,
    },
}

/// All proxies that can be seen, by pid.
///
/// # Errors
/// There is no `/proc`.
pub fn proxies() -> io::Result<Vec<Proxy>> {
    find(Path::new("/proc"))
}

/// The proxy with this pid, or why it is none.
///
/// # Errors
/// There is no such process, or this user may not look, or the plugin is not loaded in it.
pub fn proxy(pid: u32) -> io::Result<Proxy> {
    let proc = Path::new("/proc");
    let process = proc.join(pid.to_string());
    if !process.exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}")));
    }
    let name = process_name(&process);
    match has_plugin(&process) {
        Ok(true) => Ok(look(proc, pid, &mut Vec::new())),
        Ok(false) if let Some(proxy) = own_proxy(proc, pid, &mut Vec::new()) => Ok(proxy),
        Ok(false) => Err(io::Error::other(format!(
            "process {pid} ({}) has no wasmdbg.so loaded: `wasmdbg ps` lists the proxies that have",
            name.as_deref().unwrap_or("unknown")
        ))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "no permission to look into process {pid}: run as root or as its user, or give the socket's path"
            ),
        )),
        Err(error) => Err(error),
    }
}

fn find(proc: &Path) -> io::Result<Vec<Proxy>> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let mut pids: Vec<u32> =
        fs::read_dir(proc)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        match has_plugin(&proc.join(pid.to_string())) {
            Ok(true) => found.push(look(proc, pid, &mut seen)),
            Ok(false) => found.extend(own_proxy(proc, pid, &mut seen)),
            Err(_) => {}
        }
    }
    found.extend(strangers(proc, &seen));
    Ok(found)
}

/// Sockets of our name whose process this user may not look into.
fn strangers(proc: &Path, seen: &[u64]) -> Vec<Proxy> {
    let Ok(table) = fs::read(proc.join("self/net/unix")) else { return Vec::new() };
    let ours = |name: &Path| name.file_name() == Some(OsStr::new(SOCKET_NAME));
    let unseen = listening(&table).filter(|entry| ours(&entry.name) && !seen.contains(&entry.inode));
    unseen
        // A long path is bound through a descriptor of the process that we cannot look into.
        .filter(|entry| entry.name.is_absolute())
        .map(|entry| {
            let socket = if entry.name.starts_with("/proc/self/fd") {
                Socket::Hidden {
                    reason:
                        "its socket has a long path and its process belongs to another user: run as root, or \
                             give the socket's path"
                            .into(),
                }
            } else {
                Socket::At(vec![entry.name])
            };
            Proxy { pid: None, process: None, socket }
        })
        .collect()
}

/// What there is to see of a process that has the plugin; adds the inodes of its sockets to `seen`.
fn look(proc: &Path, pid: u32, seen: &mut Vec<u64>) -> Proxy {
    let process = proc.join(pid.to_string());
    let socket = match sockets(&process) {
        Ok(entries) if entries.is_empty() => Socket::Closed { reason: closed(pid, age(proc, &process)) },
        Ok(entries) => {
            seen.extend(entries.iter().map(|entry| entry.inode));
            Socket::At(entries.iter().map(|entry| translate(proc, &process, &entry.name)).collect())
        }
        Err(error) => Socket::Hidden {
            reason: format!("cannot look into process {pid}: {error}: run as root or as its user"),
        },
    };
    Proxy { pid: Some(pid), process: process_name(&process), socket }
}

/// The process if it is a `wasmdbg run` with a control socket; adds that to `seen`.
fn own_proxy(proc: &Path, pid: u32, seen: &mut Vec<u64>) -> Option<Proxy> {
    let program = fs::read_link(proc.join(pid.to_string()).join("exe")).ok()?;
    let name = program.file_name()?.as_bytes();
    if name.strip_suffix(DELETED).unwrap_or(name) != COMMAND.as_bytes() {
        return None;
    }
    Some(look(proc, pid, seen)).filter(|proxy| matches!(proxy.socket, Socket::At(_)))
}

/// Why a process listens nowhere.
fn closed(pid: u32, age: Option<u64>) -> String {
    match age {
        Some(age @ 0..YOUNG) => format!(
            "process {pid} started {age} s ago and does not listen yet: its filters may still be compiled, so try again \
             in a moment; or see `control` in its settings and its log"
        ),
        _ => {
            format!("the plugin in process {pid} listens nowhere: see `control` in its settings and its log")
        }
    }
}

/// Seconds since a process started.
fn age(proc: &Path, process: &Path) -> Option<u64> {
    let number = |text: &str| text.split('.').next()?.parse::<u64>().ok();
    let up = number(&fs::read_to_string(proc.join("uptime")).ok()?)?;
    // The name, second and in parentheses, may hold anything; the start is the 22nd field.
    let status = fs::read(process.join("stat")).ok()?;
    let rest = status.rsplit(|byte| *byte == b')').next()?;
    let started = number(std::str::from_utf8(rest).ok()?.split_whitespace().nth(19)?)?;
    Some(up.saturating_sub(started / TICKS))
}

/// The sockets at which the process listens and that can be ours.
fn sockets(process: &Path) -> io::Result<Vec<Entry>> {
    // The process's own table: it may live in another network namespace.
    let table = fs::read(process.join("net/unix"))?;
    let mut named: HashMap<u64, Entry> = listening(&table).map(|entry| (entry.inode, entry)).collect();
    let mut entries = Vec::new();
    for descriptor in fs::read_dir(process.join("fd"))?.flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else { continue };
        entries.extend(socket_inode(&target).and_then(|inode| named.remove(&inode)));
    }
    let file_is = |entry: &Entry, name: &str| entry.name.file_name() == Some(OsStr::new(name));
    if entries.iter().any(|entry| file_is(entry, SOCKET_NAME)) {
        entries.retain(|entry| file_is(entry, SOCKET_NAME));
    } else {
        entries.retain(|entry| !HOST_SOCKETS.iter().any(|name| file_is(entry, name)));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// `name` as `process` bound it, as a path of this process.
fn translate(proc: &Path, process: &Path, name: &Path) -> PathBuf {
    let inside = if let Ok(rest) = name.strip_prefix("/proc/self/fd") {
        let mut parts = rest.iter();
        let directory = parts.next().and_then(|fd| fs::read_link(process.join("fd").join(fd)).ok());
        directory.map_or_else(|| name.to_owned(), |directory| directory.join(parts.as_path()))
    } else if name.is_relative() {
        fs::read_link(process.join("cwd")).unwrap_or_default().join(name)
    } else {
        name.to_owned()
    };
    if same_files(proc, process) {
        return inside;
    }
    let relative = inside.strip_prefix("/").unwrap_or(&inside);
    process.join("root").join(relative)
}

/// Whether a path means the same file to `process` and to us.
fn same_files(proc: &Path, process: &Path) -> bool {
    let link = |of: &Path, what: &str| fs::read_link(of.join(what)).ok();
    let us = proc.join("self");
    ["ns/mnt", "root"].into_iter().all(|what| link(process, what) == link(&us, what))
}

/// Whether the plugin is mapped in the process.
fn has_plugin(process: &Path) -> io::Result<bool> {
    let maps = fs::read(process.join("maps"))?;
    Ok(maps.split(|&byte| byte == b'\n').any(is_plugin))
}

/// Whether a line of `/proc/PID/maps` names the plugin's file, replaced on disk since or not.
fn is_plugin(line: &[u8]) -> bool {
    let line = line.strip_suffix(DELETED).unwrap_or(line);
    let name = line.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    line.contains(&b'/') && PLUGIN_NAMES.iter().any(|plugin| plugin.as_bytes() == name)
}

fn process_name(process: &Path) -> Option<String> {
    // Not `comm`: the proxy renames its threads, the first one too.
    let command = fs::read(process.join("cmdline")).ok()?;
    let program = command.split(|&byte| byte == 0).next().filter(|program| !program.is_empty())?;
    let name = Path::new(OsStr::from_bytes(program)).file_name()?;
    Some(name.to_string_lossy().into_owned())
}

/// The inode in `socket:[INODE]`.
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A line of `/proc/net/unix`.
struct Entry {
    inode: u64,
    name: PathBuf,
}

/// The listening sockets with a name in the file system. Columns (`unix_seq_show`): `Num RefCount
/// Protocol Flags Type St Inode Path`; a path may hold spaces.
fn listening(table: &[u8]) -> impl Iterator<Item = Entry> {
    table.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let mut rest = line;
        let mut column = || {
            let start = rest.iter().position(|byte| *byte != b' ')?;
            let end = rest[start..].iter().position(|byte| *byte == b' ').map_or(rest.len(), |at| start + at);
            let text = std::str::from_utf8(&rest[start..end]).ok()?;
            rest = &rest[end..];
            Some(text)
        };
        let columns = (0..7).map(|_| column()).collect::<Option<Vec<_>>>()?;
        let flags = u32::from_str_radix(columns[3], 16).ok()?;
        let inode = columns[6].parse().ok()?;
        let name = rest.strip_prefix(b" ")?;
        // `@` begins an abstract name, which has no place in the file system.
        let real = flags & LISTENING != 0 && !name.is_empty() && name[0] != b'@';
        real.then(|| Entry { inode, name: PathBuf::from(OsString::from_vec(name.to_vec())) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_named_sockets_count() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 28160 /run/a b/wasmdbg.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 24221 /run/a b/wasmdbg.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 18888 @/abstract\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 29999\n";
        let found: Vec<_> = listening(table).map(|entry| (entry.inode, entry.name)).collect();
        assert_eq!(found, [(28160, PathBuf::from("/run/a b/wasmdbg.sock"))]);
    }

    #[test]
    fn a_process_that_has_just_started_is_told_from_one_that_does_not_listen() {
        assert!(closed(7, Some(0)).starts_with("process 7 started 0 s ago and does not listen yet"));
        for age in [Some(60), None] {
            assert!(closed(7, age).starts_with("the plugin in process 7 listens nowhere"), "{age:?}");
        }
        let of = |process: &Path| age(Path::new("/proc"), process).unwrap();
        let (ours, first) = (of(Path::new("/proc/self")), of(Path::new("/proc/1")));
        assert!(ours < 3600, "the tests take {ours} s");
        assert!(first >= ours);
    }

    #[test]
    fn the_plugin_is_known_by_its_file_name() {
        let mapped = |path: &str| is_plugin(format!("7f00-7f01 r-xp 00000000 08:01 99   {path}").as_bytes());
        assert!(mapped("/usr/lib/trafficserver/modules/wasmdbg.so"));
        assert!(mapped("/srv/filters/target/release/libwasmdbg_ats.so (deleted)"));
        assert!(!mapped("/usr/lib/trafficserver/modules/notwasmdbg.so"));
        assert!(!mapped("/opt/wasmdbg.so/lib/x.so"));
        assert!(!mapped("[heap]"));
    }
}
