//! Bytes to LLDB, a packet at a time.

use std::io;
use std::net::TcpStream;

/// Collects what gdbstub writes byte by byte.
pub(crate) struct Buffered {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Buffered {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, waiting: Vec::new() }
    }
}

impl gdbstub::conn::Connection for Buffered {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.waiting.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = io::Write::write_all(&mut self.stream, &self.waiting);
        self.waiting.clear();
        sent
    }
}
