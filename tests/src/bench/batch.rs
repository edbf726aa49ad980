//! A fixed number of requests, in batches: one in flight on each of several kept connections.
//!
//! One thread writes to all connections and then reads from all, so the server finds as many
//! requests ready at a time as it would under heavy load, and the work of a batch repeats.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::http::{Connection, PATIENCE, Request};

/// Open connections that ask for one thing.
#[derive(Debug)]
pub struct Batch {
    connections: Vec<Connection>,
    request: Request,
}

impl Batch {
    /// Opens `connections` connections.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr, connections: usize, request: Request) -> Result<Self> {
        let connections =
            (0..connections).map(|_| Connection::open(address, PATIENCE)).collect::<Result<Vec<_>>>()?;
        Ok(Self { connections, request })
    }

    /// Sends `batches` requests on each connection and returns how many were answered in all.
    ///
    /// # Errors
    /// When an answer is not 200: what then was measured would be something else.
    pub fn run(&mut self, batches: usize) -> Result<usize> {
        for _ in 0..batches {
            for connection in &mut self.connections {
                connection.send(&self.request)?;
            }
            for connection in &mut self.connections {
                let response = connection.receive()?;
                ensure!(response.status == 200, "status {}: {}", response.status, response.text());
            }
        }
        Ok(batches * self.connections.len())
    }
}
