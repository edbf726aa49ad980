//! A client's socket, looked at from a thread that does not own it.

use std::ffi::c_int;
use std::net::SocketAddr;

use super::address::Endpoint;

/// `tcpi_state` of linux/tcp.h: both directions are open.
const ESTABLISHED: u8 = 1;

/// The number of a socket of the server. It may be closed, or another one's, at any time: whoever looks
/// says whom it expects there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket(c_int);

impl Socket {
    pub(super) fn new(number: c_int) -> Option<Self> {
        (number >= 0).then_some(Self(number))
    }

    /// Whether `peer` has closed its direction or reset the connection. False when the number is
    /// another connection's by now: then nothing is known.
    pub(crate) fn peer_has_left(self, peer: SocketAddr) -> bool {
        match (self.peer(), self.state()) {
            // The kernel forgets the peer of a connection that was reset.
            (None, state) => state.is_some_and(|state| state != ESTABLISHED),
            (Some(other), state) => {
                let same =
                    other.address.to_canonical() == peer.ip().to_canonical() && other.port == peer.port();
                same && state.is_some_and(|state| state != ESTABLISHED)
            }
        }
    }

    fn peer(self) -> Option<Endpoint> {
        // SAFETY: a sockaddr_storage of zeros is a valid value.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut size = std::mem::size_of_val(&storage) as libc::socklen_t;
        // SAFETY: the storage has the size that is told; a wrong number gives an error.
        let result = unsafe { libc::getpeername(self.0, (&raw mut storage).cast(), &raw mut size) };
        if result != 0 {
            return None;
        }
        // SAFETY: the kernel wrote a whole address of its family.
        unsafe { Endpoint::read((&raw const storage).cast()) }
    }

    fn state(self) -> Option<u8> {
        let mut info = [0_u8; 8];
        let mut size = info.len() as libc::socklen_t;
        // SAFETY: the kernel writes at most the size that is told; a wrong number gives an error.
        let result = unsafe {
            libc::getsockopt(
                self.0,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        // tcpi_state is the first byte of tcp_info.
        (result == 0 && size > 0).then_some(info[0])
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn pair() -> (TcpStream, TcpStream, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        let (server, _) = listener.accept().expect("the other end");
        let socket = Socket::new(server.as_raw_fd()).expect("a number");
        (client, server, socket)
    }

    #[test]
    fn a_client_that_closes_has_left() {
        let (client, _server, socket) = pair();
        let peer = client.local_addr().expect("its address");
        assert!(!socket.peer_has_left(peer));
        drop(client);
        while !socket.peer_has_left(peer) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn another_connection_of_the_same_number_is_not_the_client() {
        let (client, _server, socket) = pair();
        let mut other = client.local_addr().expect("its address");
        other.set_port(other.port().wrapping_add(1));
        drop(client);
        let (again, _other_server, theirs) = pair();
        let peer = again.local_addr().expect("its address");
        drop(again);
        while !theirs.peer_has_left(peer) {
            std::thread::yield_now();
        }
        assert!(!socket.peer_has_left(other));
    }
}
