//! Which proxy an attach means, and a greeted connection to it. Knows nothing of sessions.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result, anyhow, bail};
use wasmdbg_control::Event;
use wasmdbg_control::client::Client;
use wasmdbg_control::discover::{self, Proxy, Socket};

/// Name and version for the proxy's audit log.
pub(crate) fn client_name() -> String {
    format!("wasmdbg {}", env!("CARGO_PKG_VERSION"))
}

/// A connection to the proxy named by a pid or a socket, or to the only one.
pub(crate) fn connect(target: Option<&OsStr>) -> Result<(Client, Receiver<Event>)> {
    let paths = match target {
        None => sockets(only()?)?,
        Some(target) => match target.to_str().and_then(|text| text.parse().ok()) {
            Some(pid) => sockets(discover::proxy(pid)?)?,
            None => vec![PathBuf::from(target)],
        },
    };
    let mut errors = Vec::new();
    for path in &paths {
        match Client::unix(path, &client_name()) {
            Ok(connected) => return Ok(connected),
            Err(error) => errors.push(anyhow!(error)),
        }
    }
    // Of several sockets none is ours; of one the reason is its own.
    errors.pop().map_or_else(|| Err(anyhow!("the proxy has no socket")), Err)
}

fn only() -> Result<Proxy> {
    let mut found = discover::proxies().context("cannot read /proc, which is how proxies are found")?;
    match found.len() {
        0 => bail!(
            "no running proxy has wasmdbg.so loaded, as far as this user can see: give the socket's path if it is elsewhere"
        ),
        1 => Ok(found.remove(0)),
        several => {
            let list: Vec<_> = found.iter().map(describe).collect();
            bail!(
                "{several} proxies are running: attach to one of them by its pid or socket\n  {}",
                list.join("\n  ")
            )
        }
    }
}

fn describe(proxy: &Proxy) -> String {
    let process = proxy.process.as_deref().unwrap_or("a proxy");
    let socket = match &proxy.socket {
        Socket::At(paths) => paths.first().map_or_else(String::new, |path| path.display().to_string()),
        Socket::Closed => "no control socket".to_owned(),
        Socket::Hidden { reason } => reason.clone(),
    };
    let pid = proxy.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("{pid}  {process}  {socket}")
}

fn sockets(proxy: Proxy) -> Result<Vec<PathBuf>> {
    match proxy.socket {
        Socket::At(paths) => Ok(paths),
        Socket::Closed => bail!(
            "the plugin in process {} listens nowhere: see `control` in its settings and the proxy's log",
            proxy.pid.unwrap_or_default()
        ),
        Socket::Hidden { reason } => bail!("{reason}"),
    }
}

/// Whether `path` is a socket of a proxy on this machine, for error messages.
pub(crate) fn display(target: Option<&OsStr>) -> String {
    target.map_or_else(|| "the proxy".to_owned(), |target| Path::new(target).display().to_string())
}
