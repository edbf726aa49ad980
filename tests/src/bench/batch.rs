//! A fixed number of requests, in batches: one in flight on each of several kept connections.
//!
//! The server is stopped (SIGSTOP) while the requests of a batch are written, so that it finds all of
//! them ready at once, as under heavy load: how many turns of its event loop a batch takes, and with
//! it the number of instructions, then does not depend on who else uses the machine.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::ats::Ats;
use crate::http::{Connection, Request};
use crate::process;
use crate::scratch::{PATIENCE, wait_for};

/// Open connections that ask for one thing.
#[derive(Debug)]
pub struct Batch {
    connections: Vec<Connection>,
    request: Request,
    server: u32,
}

impl Batch {
    /// Opens `connections` connections.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(server: &Ats, connections: usize, request: Request) -> Result<Self> {
        let open = |_| Connection::open(server.address(), PATIENCE);
        let connections = (0..connections).map(open).collect::<Result<Vec<_>>>()?;
        Ok(Self { connections, request, server: server.pid() })
    }

    /// Sends `batches` requests on each connection and returns how many were answered in all.
    ///
    /// # Errors
    /// When an answer is not 200: what then was measured would be something else.
    pub fn run(&mut self, batches: usize) -> Result<usize> {
        for _ in 0..batches {
            let stopped = Stopped::new(self.server)?;
            for connection in &mut self.connections {
                connection.send(&self.request)?;
            }
            drop(stopped);
            for connection in &mut self.connections {
                let response = connection.receive()?;
                ensure!(response.status == 200, "status {}: {}", response.status, response.text());
            }
        }
        Ok(batches * self.connections.len())
    }
}

/// A process that is stopped until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Result<Self> {
        process::signal(pid, Signal::SIGSTOP)?;
        let stopped = Self(pid);
        // The signal is sent; the threads take it one by one.
        wait_for("the server's stop", PATIENCE, || process::is_stopped(pid).then_some(()))?;
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = process::signal(self.0, Signal::SIGCONT);
    }
}
