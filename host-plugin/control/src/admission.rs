//! Which users may speak to us.
//!
//! At a loopback port: our own user and root. A port has no mode and no owner as the control socket has, so
//! the kernel is asked which user holds the other end of a connection. It says so in `/proc/net/tcp` and
//! `tcp6`, which list the sockets of this network namespace by the addresses of both their ends. A peer that
//! is not listed is refused: it is in another namespace (behind something that forwards, whose user counts
//! then), or gone.
//!
//! At the control socket: those two, and the users that `control.users` names ([`may_debug`]).
//!
//! In a user namespace the kernel shows all users who have no number in it as one (`stand_in`), which can
//! be the number of this process too, or of a user that the settings name: nobody is let in by that number.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::server::Peer;

/// Where the kernel lists sockets; the second is absent without IPv6. An IPv6 socket that speaks IPv4 is in
/// the second. The calling thread's: threads can be in namespaces of their own.
const TABLES: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];

/// A table is read in pieces while it changes, and a row can be missed then.
const TRIES: usize = 3;

/// State of a row: both ends are open. A row in another state, or without an inode, says user 0 for a
/// socket that its owner has closed, while what he sent is still to be read here.
const ESTABLISHED: &str = "01";

/// The kernel's usual number for users who have none in a namespace.
const OVERFLOW: u32 = 65_534;

/// Refusals in the log: one in this time.
const QUIET: Duration = Duration::from_secs(1);

/// Decides about peers, and how many refusals are worth a line.
#[derive(Debug, Default)]
pub struct Admission {
    said: Option<Instant>,
    /// Refused since without a line.
    unsaid: u64,
}

/// Why a peer is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the peer to read.
    pub why: String,
    /// For the log; `None` while the last line is less than a second old.
    pub line: Option<String>,
}

impl Admission {
    /// Whether the process at the other end of a connection that was just accepted is of this process'
    /// user or of root.
    ///
    /// # Errors
    /// It is of another user, or nobody knows: see the module.
    pub fn check(&mut self, stream: &TcpStream) -> Result<(), Refusal> {
        let own = nix::unistd::geteuid().as_raw();
        let judged = peer_user(stream).map_err(|error| format!("its user is unknown: {error}"));
        let Err(why) = judged.and_then(|user| judge(user, own, stand_in())) else { return Ok(()) };
        let from = stream.peer_addr().map_or_else(|_| "somebody".into(), |address| address.to_string());
        Err(self.refuse(&from, why, Instant::now()))
    }

    fn refuse(&mut self, from: &str, why: String, now: Instant) -> Refusal {
        if self.said.is_some_and(|said| now.duration_since(said) < QUIET) {
            self.unsaid += 1;
            return Refusal { why, line: None };
        }
        self.said = Some(now);
        let before = match std::mem::take(&mut self.unsaid) {
            0 => String::new(),
            unsaid => format!(" ({unsaid} more were refused before)"),
        };
        let line = Some(format!("refused a connection from {from}: {why}{before}"));
        Refusal { why, line }
    }
}

/// The number that the kernel shows in this user namespace for every user who has none in it; `None`: all
/// users have one of their own. It can be some user's own number as well.
fn stand_in() -> Option<u32> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if is_whole(&map) {
        return None;
    }
    let number = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    Some(number.and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW))
}

/// Whether a namespace has all users under their own numbers, as the first one has.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether `user` may speak to a process of user `own`; see [`stand_in`].
fn judge(user: Option<u32>, own: u32, stand_in: Option<u32>) -> Result<(), String> {
    match user {
        Some(user) if Some(user) == stand_in => Err(unnamed(user)),
        Some(user) if user == own || user == 0 => Ok(()),
        Some(user) => Err(format!(
            "user {user} may not connect, only user {own} who runs this and root: run it as the user who connects"
        )),
        None => Err("no process of this network namespace holds the other end".into()),
    }
}

/// Whether `peer` may use the control socket of this process; `named` are the users of `control.users`, without
/// whom the socket's mode keeps out all but this process' user and root.
///
/// # Errors
/// Why not, for the peer to read.
pub fn may_debug(peer: &Peer, named: &[u32]) -> Result<(), String> {
    if peer.pid == std::process::id() {
        return Ok(());
    }
    judge_named(peer.uid, nix::unistd::geteuid().as_raw(), named, stand_in())
}

/// The numbers of users that are named by number or by name, and the names that the system does not know.
pub fn numbers(names: &[String]) -> (Vec<u32>, Vec<&str>) {
    let (mut numbers, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        let known = name.parse().ok().or_else(|| {
            let user = nix::unistd::User::from_name(name).ok().flatten()?;
            Some(user.uid.as_raw())
        });
        match known {
            Some(number) => numbers.push(number),
            None => unknown.push(name.as_str()),
        }
    }
    (numbers, unknown)
}

/// Whether `user` may use the control socket of a process of user `own`; see [`stand_in`].
fn judge_named(user: u32, own: u32, named: &[u32], stand_in: Option<u32>) -> Result<(), String> {
    // The mode has let nobody through who is not the owner, whatever his number here.
    let by_mode = user == own && named.is_empty();
    if Some(user) == stand_in && !by_mode {
        return Err(unnamed(user));
    }
    if user == own || user == 0 || named.contains(&user) {
        return Ok(());
    }
    Err(format!(
        "user {user} may not debug this proxy: name it in `control.users` of the plugin's settings, or run as the \
         proxy's user or root"
    ))
}

/// Why a user who is shown as the [`stand_in`] is refused.
fn unnamed(user: u32) -> String {
    format!(
        "user {user} stands for everybody who has no number in this user namespace, so it may be anybody: \
         connect as a user whom the namespace maps to another number"
    )
}

/// The user of the socket at the other end; `None`: no open one is listed.
///
/// # Errors
/// The kernel's lists cannot be read, or the connection is over.
fn peer_user(stream: &TcpStream) -> io::Result<Option<u32>> {
    // The other end has the two addresses the other way round.
    let (theirs, ours) = (stream.peer_addr()?, stream.local_addr()?);
    for _ in 0..TRIES {
        for table in TABLES {
            let table = match File::open(table) {
                Ok(file) => BufReader::new(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound && table == TABLES[1] => continue,
                Err(error) => return Err(io::Error::new(error.kind(), format!("{table}: {error}"))),
            };
            if let Some(user) = user_of(table, theirs, ours)? {
                return Ok(Some(user));
            }
        }
    }
    Ok(None)
}

/// The user of the open socket in a table whose own address is `local` and whose peer's is `remote`.
fn user_of(table: impl BufRead, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let plain = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let wanted = (plain(local), plain(remote));
    for row in table.lines() {
        let row = row?;
        let fields: Vec<&str> = row.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, _, _, _, user, _, inode, ..] = fields[..] else { continue };
        // A socket that its owner has closed has no inode.
        if inode == "0" || address(local).zip(address(remote)) != Some(wanted) {
            continue;
        }
        if let Ok(user) = user.parse() {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// `0100007F:1F90`: words of an address in hexadecimal as this machine keeps them, and the port.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(index)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

    /// A row as a little-endian kernel writes it.
    fn row(local: &str, remote: &str, state: &str, user: u32, inode: u32) -> String {
        format!(
            "   7: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {user:5}        0 {inode} 1 0 20 4\n"
        )
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_other_end_is_found_by_both_addresses() {
        let (client, server) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        let find = |rows: &[String]| {
            user_of(format!("{HEAD}\n{}", rows.concat()).as_bytes(), client, server).unwrap()
        };
        let (c, s) = ("0100007F:9C40", "0100007F:1F90");
        assert_eq!(find(&[]), None);
        let ours = row(s, c, "01", 0, 11);
        assert_eq!(find(std::slice::from_ref(&ours)), None, "our own end");
        assert_eq!(find(&[ours.clone(), row(c, s, "01", 65_534, 12)]), Some(65_534));
        assert_eq!(find(&[row("0100007F:9C41", s, "01", 1, 12)]), None, "another port");
        assert_eq!(find(&[row("0200007F:9C40", s, "01", 1, 12)]), None, "another address");
        assert_eq!(find(&[row(c, "00000000:0000", "0A", 1, 12)]), None, "listens");
        // The kernel writes user 0 for these, whoever had them.
        for (state, inode) in [("01", 0), ("04", 0), ("05", 0), ("06", 0), ("02", 13), ("05", 13)] {
            assert_eq!(find(&[row(c, s, state, 0, inode)]), None, "{state} {inode}");
        }
        for broken in ["", "7: x y", &row("0100007F", s, "01", 0, 1), &row(c, "1:2", "01", 0, 1), "é"] {
            assert_eq!(find(&[broken.to_owned() + "\n", row(c, s, "01", 7, 12)]), Some(7), "{broken}");
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn version_6_and_version_4_in_it() {
        let find = |row: String, client: &str, server: &str| {
            user_of(row.as_bytes(), client.parse().unwrap(), server.parse().unwrap()).unwrap()
        };
        let six =
            row("00000000000000000000000001000000:9C40", "00000000000000000000000001000000:1F90", "01", 5, 1);
        assert_eq!(find(six.clone(), "[::1]:40000", "[::1]:8080"), Some(5));
        assert_eq!(find(six, "127.0.0.1:40000", "127.0.0.1:8080"), None);
        let words =
            row("B80D01200000000067452301EFCDAB89:9C40", "00000000000000000000000001000000:1F90", "01", 5, 1);
        assert_eq!(find(words, "[2001:db8::123:4567:89ab:cdef]:40000", "[::1]:8080"), Some(5));
        // An IPv6 socket that speaks IPv4, on either side.
        let mapped =
            row("0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:1F90", "01", 5, 1);
        assert_eq!(find(mapped.clone(), "127.0.0.1:40000", "127.0.0.1:8080"), Some(5));
        assert_eq!(find(mapped, "[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080"), Some(5));
        let plain = row("0100007F:9C40", "0100007F:1F90", "01", 5, 1);
        assert_eq!(find(plain, "[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080"), Some(5));
    }

    #[test]
    fn only_the_own_user_and_root() {
        assert_eq!(judge(Some(1000), 1000, None), Ok(()));
        assert_eq!(judge(Some(0), 1000, None), Ok(()));
        assert!(judge(Some(1000), 0, None).unwrap_err().starts_with("user 1000 may not connect"));
        assert!(judge(Some(1001), 1000, None).unwrap_err().contains("only user 1000"));
        assert!(judge(None, 0, None).is_err());
    }

    #[test]
    fn a_number_that_many_users_have_lets_nobody_in() {
        // As the kernel writes it: of the first namespace, of a container's, of one without a map.
        assert!(is_whole("         0          0 4294967295\n"));
        for partial in ["0 100000 65536\n", "0 0 1\n", "0 1000 1\n1 100000 65536\n", ""] {
            assert!(!is_whole(partial), "{partial}");
        }
        assert_eq!(judge(Some(65_534), 65_534, None), Ok(()), "the user nobody himself");
        for own in [65_534, 0, 1000] {
            let why = judge(Some(65_534), own, Some(65_534)).unwrap_err();
            assert!(why.starts_with("user 65534 stands for everybody who has no number"), "{why}");
        }
        assert_eq!(judge(Some(1000), 1000, Some(65_534)), Ok(()));
        assert_eq!(judge(Some(0), 65_534, Some(65_534)), Ok(()));
    }

    #[test]
    fn the_control_socket_is_for_its_own_user_root_and_those_who_are_named() {
        let whole = |user, named: &[u32]| judge_named(user, 1000, named, None);
        assert_eq!((whole(1000, &[]), whole(0, &[]), whole(7, &[7])), (Ok(()), Ok(()), Ok(())));
        assert!(whole(7, &[8]).unwrap_err().starts_with("user 7 may not debug this proxy: name it in"));
        assert_eq!(whole(65_534, &[65_534]), Ok(()), "the user nobody himself");
    }

    #[test]
    fn users_are_named_by_number_or_by_name() {
        let names = ["1234", "root", "no such user", "-1"].map(String::from);
        assert_eq!(numbers(&names), (vec![1234, 0], vec!["no such user", "-1"]));
    }

    #[test]
    fn a_number_that_many_users_have_names_nobody_at_the_control_socket() {
        let part = |user, own, named: &[u32]| judge_named(user, own, named, Some(65_534));
        for (own, named) in [(1000, [65_534].as_slice()), (1000, &[7]), (65_534, &[7]), (1000, &[])] {
            let why = part(65_534, own, named).unwrap_err();
            assert!(why.starts_with("user 65534 stands for everybody who has no number"), "{own}: {why}");
        }
        assert_eq!(part(65_534, 65_534, &[]), Ok(()), "nobody else gets through the socket's mode");
        assert_eq!(
            (part(1000, 1000, &[]), part(0, 1000, &[]), part(7, 1000, &[7])),
            (Ok(()), Ok(()), Ok(()))
        );
        assert!(part(7, 1000, &[]).is_err());
    }

    /// What this kernel really writes, for the kinds of sockets there are.
    #[test]
    fn peers_of_this_process_are_its_users_as_long_as_they_are_open() {
        let own = nix::unistd::geteuid().as_raw();
        let loopbacks = ["127.0.0.1:0", "[::1]:0"];
        let listeners = loopbacks.iter().filter_map(|address| TcpListener::bind(address).ok());
        let mut tried = 0;
        for listener in listeners {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(peer_user(&accepted).unwrap(), Some(own));
            Admission::default().check(&accepted).unwrap();
            drop(client);
            // Closed, with the connection itself still there: the kernel says user 0 now.
            assert_eq!(peer_user(&accepted).unwrap(), None);
            let refusal = Admission::default().check(&accepted).unwrap_err();
            assert!(refusal.line.unwrap().contains("no process of this network namespace"));
            tried += 1;
        }
        assert!(tried > 0, "no loopback address at all");
    }

    #[test]
    fn refusals_are_said_once_a_second_with_a_count() {
        let mut admission = Admission::default();
        let start = Instant::now();
        let mut at =
            |millis| admission.refuse("x:1", "why".into(), start + Duration::from_millis(millis)).line;
        assert_eq!(at(0).unwrap(), "refused a connection from x:1: why");
        assert_eq!((at(10), at(999)), (None, None));
        assert_eq!(at(1000).unwrap(), "refused a connection from x:1: why (2 more were refused before)");
        assert_eq!(at(2000).unwrap(), "refused a connection from x:1: why");
    }
}
