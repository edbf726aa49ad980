//! Bytes as they are on the wire: an origin that keeps all that it gets, and a client that keeps all that
//! comes back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::scratch::{PATIENCE, wait_for};

type Answer = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// A running origin. It answers the first request of a connection, says that it sends no more, and reads on
/// until the other side closes as well: a second request in the same bytes is kept with the first.
#[derive(Debug)]
pub struct RawOrigin {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    open: AtomicUsize,
    connections: Mutex<Vec<Vec<u8>>>,
}

impl RawOrigin {
    /// Listens on a free loopback port; `answer` makes a whole response of a whole request.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let answer: Arc<Answer> = Arc::new(answer);
        let (stop, all) = (Arc::clone(&ended), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                all.open.fetch_add(1, Ordering::SeqCst);
                let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
                std::thread::spawn(move || {
                    let bytes = serve(stream, &*answer);
                    all.connections.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
                    all.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { address, ended, seen })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came since the last time, a connection each, in the order of their ends. Waits for the ends of
    /// those that are open.
    ///
    /// # Errors
    /// When one stays open.
    pub fn take(&self) -> Result<Vec<Vec<u8>>> {
        wait_for("the ends of the origin's connections", PATIENCE, || {
            (self.seen.open.load(Ordering::SeqCst) == 0).then_some(())
        })?;
        Ok(std::mem::take(&mut *self.seen.connections.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = vec![0; 65_536];
    while !is_whole(&bytes) {
        match stream.read(&mut part) {
            Ok(size @ 1..) => bytes.extend_from_slice(&part[..size]),
            _ => return bytes,
        }
    }
    let sent = stream.write_all(&answer(&bytes)).and_then(|()| stream.shutdown(Shutdown::Write));
    if sent.is_ok() {
        // What comes before an error counts.
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
}

/// Whether a request is there with the whole body that it announces.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    match (field(head, "transfer-encoding"), field(head, "content-length")) {
        (Some(_), _) => body.ends_with(b"0\r\n\r\n"),
        (None, Some(length)) => length.parse().is_ok_and(|length: usize| body.len() >= length),
        (None, None) => true,
    }
}

/// A message's head, without the empty line, and what follows it.
#[must_use]
pub fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&message[..end], &message[end + 4..]))
}

/// The values of the fields named `name`, joined by `,`. None without one.
#[must_use]
pub fn field(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let named = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    let values: Vec<&str> = named.map(|(_, value)| value.trim()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Sends `bytes` and returns all that comes until the connection is closed.
///
/// # Errors
/// When it stays open and silent.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    exchange_on(TcpStream::connect(address)?, bytes)
}

/// The same on a connection that is there.
///
/// # Errors
/// As [`exchange`].
pub fn exchange_on(mut stream: TcpStream, bytes: &[u8]) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut came = Vec::new();
    stream.read_to_end(&mut came).with_context(|| format!("after {:?}", String::from_utf8_lossy(&came)))?;
    Ok(came)
}

/// Connects from another address of this machine, such as 127.0.0.2.
///
/// # Errors
/// When nobody listens.
pub fn connect_from(own: Ipv4Addr, address: SocketAddr) -> Result<TcpStream> {
    let SocketAddr::V4(address) = address else { anyhow::bail!("{address} is not an IPv4 address") };
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(own, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(TcpStream::from(socket))
}
