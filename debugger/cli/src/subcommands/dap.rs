//! `wasmdbg dap`: the debug adapter for editors.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use wasmdbg_dap::Listener;

use crate::terminal::console::{Console, log};

/// Serves one editor on standard input and output, or any number at `listen`.
pub(crate) fn run(listen: Option<SocketAddr>, console: &mut Console) -> Result<()> {
    let Some(address) = listen else {
        return wasmdbg_dap::stdio().context("cannot serve the editor");
    };
    let listener = Listener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    console.say(&format!("debug adapter at {}", listener.address()?));
    listener.run(log)
}
