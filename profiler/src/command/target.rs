//! Which process is meant: `-p PID`, `--socket PATH`, or the only proxy there is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wasmdbg_control::Client;
use wasmdbg_control::discover::{self, Greeted, NobodyGreeted, Socket, greet_first};

/// What the proxy's log calls us.
const NAME: &str = concat!("wasmprof ", env!("CARGO_PKG_VERSION"));

/// How long the proxy may take to let us in and to greet.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the user said.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) pid: Option<u32>,
    pub(crate) socket: Option<PathBuf>,
}

impl Chosen {
    /// The process's id.
    pub(crate) fn pid(&self) -> Result<u32> {
        match (self.pid, &self.socket) {
            (Some(pid), _) => Ok(pid),
            (None, Some(socket)) => pid_of(socket),
            (None, None) => only(),
        }
    }
}

/// A connection to the proxy that is meant.
pub(crate) fn connect(chosen: &Chosen) -> Result<Client> {
    let paths = match (&chosen.socket, chosen.pid()?) {
        (Some(socket), _) => vec![socket.clone()],
        (None, pid) => match discover::proxy(pid)?.socket {
            Socket::At(paths) => paths,
            Socket::Closed { reason } | Socket::Hidden { reason } => bail!("{reason}"),
        },
    };
    Ok(greet(&paths)?.client)
}

fn pid_of(socket: &PathBuf) -> Result<u32> {
    let greeted = greet(std::slice::from_ref(socket))
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    Ok(greeted.client.pid())
}

fn greet(paths: &[PathBuf]) -> Result<Greeted, NobodyGreeted> {
    greet_first(paths, NAME, PATIENCE)
}

fn only() -> Result<u32> {
    let proxies = discover::proxies().context("cannot look for proxies")?;
    let pids: Vec<u32> = proxies.iter().filter_map(|proxy| proxy.pid).collect();
    match pids.as_slice() {
        [pid] => Ok(*pid),
        [] => bail!(
            "no proxy with wasmdbg.so was found among the processes that you may look into: name a process with -p PID"
        ),
        several => {
            let list: Vec<String> = several.iter().map(u32::to_string).collect();
            bail!("there are several proxies, with the pids {}: choose one with -p PID", list.join(", "))
        }
    }
}
