//! Which proxy a user means, and a greeted connection to it; and the same proxy once it was restarted. Knows
//! nothing of sessions.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use wasmdbg_control::client::AttachError;
use wasmdbg_control::discover::{self, NobodyGreeted, Proxy, Socket, greet_first};

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
    Attach(#[from] NobodyGreeted),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        Self::Search(error.to_string())
    }
}

pub use wasmdbg_control::discover::Greeted as Connected;

/// How long a proxy may take to let us in and to greet.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to `target` and greets; `name` is the client's name and version for the proxy's audit log.
///
/// # Errors
/// No such proxy, none or several to choose from, no permission, another protocol version.
pub fn connect(target: &Target, name: &str) -> Result<Connected, ConnectError> {
    let paths = match target {
        Target::Only => sockets(only()?)?,
        Target::Pid(pid) => sockets(discover::proxy(*pid)?)?,
        Target::Socket(path) => vec![path.clone()],
    };
    Ok(greet_first(&paths, name, PATIENCE)?)
}

/// A proxy whose connection is lost, as it is found again when it has been restarted: at the same control
/// socket. Nothing else tells it from other proxies of this machine.
#[derive(Debug, Clone)]
pub struct Lost {
    socket: PathBuf,
    /// In a container the way to the socket leads through the process, and its next one has another.
    inside: Option<Inside>,
}

#[derive(Debug, Clone)]
struct Inside {
    path: PathBuf,
    /// Processes of other proxies that were there when it was lost.
    others: Vec<u32>,
}

impl Lost {
    /// The proxy at `socket` is lost now.
    pub fn at(socket: PathBuf) -> Self {
        let inside = inside(&socket).map(|path| {
            let there = discover::proxies().unwrap_or_default();
            Inside { path, others: there.iter().filter_map(|proxy| proxy.pid).collect() }
        });
        Self { socket, inside }
    }

    /// Its control socket, as the proxy itself names it.
    pub fn socket(&self) -> &Path {
        self.inside.as_ref().map_or(&self.socket, |inside| &inside.path)
    }

    /// Connects to it and greets, if it is back.
    ///
    /// # Errors
    /// As for [`connect`].
    pub fn connect(&self, name: &str) -> Result<Connected, ConnectError> {
        let mut paths = vec![self.socket.clone()];
        if let Some(Inside { path, others }) = &self.inside {
            let new = discover::proxies()?.into_iter().filter(|proxy| {
                let pid = proxy.pid;
                pid.is_some_and(|pid| !others.contains(&pid))
            });
            let sockets = new.filter_map(|proxy| match proxy.socket {
                Socket::At(paths) => Some(paths),
                Socket::Closed { .. } | Socket::Hidden { .. } => None,
            });
            paths.extend(sockets.flatten().filter(|found| inside(found).as_ref() == Some(path)));
        }
        Ok(greet_first(&paths, name, PATIENCE)?)
    }
}

/// `/run/x.sock` of `/proc/PID/root/run/x.sock`.
fn inside(socket: &Path) -> Option<PathBuf> {
    let mut parts = socket.components();
    let names: Vec<_> = parts.by_ref().take(4).map(Component::as_os_str).collect();
    let [root, proc, pid, of] = names.as_slice() else { return None };
    let process = pid.to_str().is_some_and(|pid| pid.parse::<u32>().is_ok());
    (*root == "/" && *proc == "proc" && process && *of == "root")
        .then(|| Path::new("/").join(parts.as_path()))
}

impl ConnectError {
    /// Whether the same may succeed a moment later, when the proxy runs.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Search(_) => true,
            Self::Attach(nobody) => match &nobody.error {
                AttachError::Version(_) => false,
                // A socket has its mode a moment after it is there.
                AttachError::Connect(_) | AttachError::NoSocket => true,
                error @ AttachError::Call(_) => !error.denied(),
            },
        }
    }
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
        Socket::Closed { reason } | Socket::Hidden { reason } => reason.clone(),
    };
    let pid = proxy.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("{pid}  {process}  {socket}")
}

fn sockets(proxy: Proxy) -> Result<Vec<PathBuf>, ConnectError> {
    match proxy.socket {
        Socket::At(paths) => Ok(paths),
        Socket::Closed { reason } | Socket::Hidden { reason } => Err(ConnectError::Search(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_a_container_is_known_by_its_path_there() {
        let inside = |path: &str| inside(Path::new(path));
        assert_eq!(inside("/proc/12/root/run/a/wasmdbg.sock"), Some("/run/a/wasmdbg.sock".into()));
        assert_eq!(inside("/run/a/wasmdbg.sock"), None);
        assert_eq!(inside("/proc/self/root/run/wasmdbg.sock"), None);
        assert_eq!(inside("proc/12/root/run/wasmdbg.sock"), None);
    }
}
