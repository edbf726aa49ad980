//! Which proxy an attach means, and a greeted connection to it. Knows nothing of sessions.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;
use wasmdbg_control::Events;
use wasmdbg_control::client::Client;
use wasmdbg_session::proxy::{self, Connected, Target};

/// Name and version for the proxy's audit log.
pub(crate) fn client_name() -> String {
    format!("wasmdbg {}", env!("CARGO_PKG_VERSION"))
}

/// A connection to the proxy named by a pid or a socket, or to the only one.
pub(crate) fn connect(target: Option<&OsStr>) -> Result<(Client, Events)> {
    let target = match target {
        None => Target::Only,
        Some(target) => match target.to_str().and_then(|text| text.parse().ok()) {
            Some(pid) => Target::Pid(pid),
            None => Target::Socket(target.into()),
        },
    };
    let Connected { client, events, .. } = proxy::connect(&target, &client_name())?;
    Ok((client, events))
}

/// Whether `path` is a socket of a proxy on this machine, for error messages.
pub(crate) fn display(target: Option<&OsStr>) -> String {
    target.map_or_else(|| "the proxy".to_owned(), |target| Path::new(target).display().to_string())
}
