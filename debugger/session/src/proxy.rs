//! Which proxy a user means, and a greeted connection to it. Knows nothing of sessions.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use wasmdbg_control::client::AttachError;
use wasmdbg_control::discover::{self, Proxy, Socket};
use wasmdbg_control::{Client, Event};

/// A proxy as a user names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// The only one there is.
    #[default]
    Only,
    /// By its process id.
    Pid(u32),
    /// By its control socket.
    Socket(PathBuf),
}

/// Why there is no connection; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The search found none, or several.
    #[error("{0}")]
    Search(String),
    /// The socket is there and gives no connection.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        Self::Search(error.to_string())
    }
}

/// Connects to `target` and greets; `name` is the client's name and version for the proxy's audit log.
///
/// # Errors
/// No such proxy, none or several to choose from, no permission, another protocol version.
pub fn connect(target: &Target, name: &str) -> Result<(Client, Receiver<Event>), ConnectError> {
    let paths = match target {
        Target::Only => sockets(only()?)?,
        Target::Pid(pid) => sockets(discover::proxy(*pid)?)?,
        Target::Socket(path) => vec![path.clone()],
    };
    let mut last = None;
    for path in &paths {
        match Client::unix(path, name) {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    // Of several sockets none is ours; of one the reason is its own.
    Err(last.map_or_else(|| ConnectError::Search("the proxy has no socket".into()), Into::into))
}

fn only() -> Result<Proxy, ConnectError> {
    let mut found = discover::proxies().map_err(|error| {
        ConnectError::Search(format!("cannot read /proc, which is how proxies are found: {error}"))
    })?;
    match found.len() {
        0 => Err(ConnectError::Search(
            "no running proxy has wasmdbg.so loaded, as far as this user can see: give the socket's path if it is \
             elsewhere"
                .into(),
        )),
        1 => Ok(found.remove(0)),
        several => {
            let list: Vec<_> = found.iter().map(describe).collect();
            Err(ConnectError::Search(format!(
                "{several} proxies are running: attach to one of them by its pid or socket\n  {}",
                list.join("\n  ")
            )))
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

fn sockets(proxy: Proxy) -> Result<Vec<PathBuf>, ConnectError> {
    match proxy.socket {
        Socket::At(paths) => Ok(paths),
        Socket::Closed => Err(ConnectError::Search(format!(
            "the plugin in process {} listens nowhere: see `control` in its settings and the proxy's log",
            proxy.pid.unwrap_or_default()
        ))),
        Socket::Hidden { reason } => Err(ConnectError::Search(reason)),
    }
}
