//! A client's socket, looked at from a thread that does not own it.

use std::ffi::c_int;

use super::address::Endpoint;

/// `tcpi_state` of linux/tcp.h: both directions are open.
const ESTABLISHED: u8 = 1;

/// A socket of the server and the address at its other end. The server may close it at any time, and give
/// its number to another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    number: c_int,
    peer: Endpoint,
}

impl Socket {
    /// The connection that has this number now; none when it has no address at its other end.
    pub(super) fn connected(number: c_int) -> Option<Self> {
        Some(Self { number, peer: peer_of(number)? })
    }

    /// Whether the connection is over: its peer has closed its direction or reset it, or the server has
    /// closed it, so that the number is free or another connection's.
    pub(crate) fn is_over(self) -> bool {
        // The kernel forgets the peer of a connection that was reset.
        peer_of(self.number) != Some(self.peer) || state_of(self.number) != Some(ESTABLISHED)
    }
}

/// `getpeername`
fn peer_of(number: c_int) -> Option<Endpoint> {
    // SAFETY: a sockaddr_storage of zeros is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut size = std::mem::size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the storage has the size that is told; a wrong number gives an error.
    let result = unsafe { libc::getpeername(number, (&raw mut storage).cast(), &raw mut size) };
    if result != 0 {
        return None;
    }
    // SAFETY: the kernel wrote a whole address of its family.
    unsafe { Endpoint::read((&raw const storage).cast()) }
}

/// `tcpi_state`
fn state_of(number: c_int) -> Option<u8> {
    let mut info = [0_u8; 8];
    let mut size = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most the size that is told; a wrong number gives an error.
    let result = unsafe {
        libc::getsockopt(number, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    // tcpi_state is the first byte of tcp_info.
    (result == 0 && size > 0).then_some(info[0])
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
        let socket = Socket::connected(server.as_raw_fd()).expect("a connection");
        (client, server, socket)
    }

    fn wait_for_the_end(socket: Socket) {
        while !socket.is_over() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_client_that_closes_has_left() {
        let (client, _server, socket) = pair();
        assert!(!socket.is_over());
        drop(client);
        wait_for_the_end(socket);
    }

    #[test]
    fn a_client_that_resets_has_left() {
        let (client, _server, socket) = pair();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option's value is a linger of its size.
        let result = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                std::mem::size_of_val(&linger) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
        drop(client);
        wait_for_the_end(socket);
    }

    #[test]
    fn a_connection_whose_number_is_another_ones_is_over() {
        let (_client, server, mut socket) = pair();
        let (_other_client, other, theirs) = pair();
        assert!(!theirs.is_over());
        // As if the server had closed the first, and the second had got its number.
        socket.number = other.as_raw_fd();
        assert!(socket.is_over());
        drop(server);
    }

    #[test]
    fn what_is_no_connection_has_no_peer() {
        assert_eq!(Socket::connected(-1), None);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        assert_eq!(Socket::connected(listener.as_raw_fd()), None);
    }
}
