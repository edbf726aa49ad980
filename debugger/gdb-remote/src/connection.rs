//! The connection to LLDB: what it must be able to do, and bytes out a packet at a time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

/// Both directions of a connection to LLDB. One thread reads, another one writes and ends it.
pub(crate) trait Stream: Read + Write + Send + Sized + 'static {
    /// The same connection, for another thread.
    fn try_clone(&self) -> io::Result<Self>;

    /// Ends both directions, whoever waits for one.
    fn close(&self);
}

impl Stream for TcpStream {
    fn try_clone(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// What is collected before it goes out: an answer has as many bytes as LLDB asked for.
const ROOM: usize = 64 << 10;

/// Collects what gdbstub writes byte by byte.
pub(crate) struct Buffered<S> {
    stream: S,
    waiting: Vec<u8>,
}

impl<S: Stream> Buffered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, waiting: Vec::new() }
    }
}

impl<S: Stream> gdbstub::conn::Connection for Buffered<S> {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.waiting.push(byte);
        if self.waiting.len() < ROOM { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.waiting);
        self.waiting.clear();
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use gdbstub::conn::Connection as _;

    use super::*;

    #[test]
    fn a_packet_goes_out_as_one_and_a_large_one_in_parts() {
        let (mut lldb, stream) = UnixStream::pair().unwrap();
        lldb.set_nonblocking(true).unwrap();
        let mut out = Buffered::new(stream);
        out.write_all(b"$OK#").unwrap();
        assert!(lldb.read(&mut [0; 8]).is_err(), "it is not whole");
        out.write_all(b"9a").unwrap();
        out.flush().unwrap();
        let mut packet = [0; 8];
        assert_eq!(lldb.read(&mut packet).unwrap(), 6);
        assert_eq!(&packet[..6], b"$OK#9a");
        lldb.set_nonblocking(false).unwrap();
        let reader = std::thread::spawn(move || lldb.read_exact(&mut vec![0; 10 * ROOM]));
        for _ in 0..10 * ROOM {
            out.write(b'0').unwrap();
            assert!(out.waiting.len() < ROOM);
        }
        reader.join().unwrap().unwrap();
    }
}
