//! Connections to proxies and sessions over them, for the threads that wait for these.

use std::sync::Arc;
use std::time::Duration;

use wasmdbg_control::{Client, Connection, Events, client::AttachError};
use wasmdbg_session::proxy::{self, ConnectError, Connected, Lost, Target};
use wasmdbg_session::{AttachOptions, Error, Progress, Session};

use crate::session::link::ProxyLink;
use crate::session::notice::{Notice, Notices};

/// The proxies that an adapter can attach to.
pub trait Proxies: Send + Sync {
    /// Connects to `target` and greets; `name` is the client's name and version for the proxy's audit log.
    ///
    /// # Errors
    /// There is no such proxy, or it lets nobody in.
    fn connect(&self, target: &Target, name: &str) -> Result<Connected, ConnectError>;

    /// Connects to a proxy that was lost, if it is back.
    ///
    /// # Errors
    /// As for [`Proxies::connect`].
    fn find_again(&self, lost: &Lost, name: &str) -> Result<Connected, ConnectError>;
}

/// The proxies of this machine, by their control sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl Proxies for ThisMachine {
    fn connect(&self, target: &Target, name: &str) -> Result<Connected, ConnectError> {
        proxy::connect(target, name)
    }

    fn find_again(&self, lost: &Lost, name: &str) -> Result<Connected, ConnectError> {
        lost.connect(name)
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The proxy will not, or is gone again.
    #[error(transparent)]
    Session(#[from] Error),
    /// It is for us or the user to mend.
    #[error("{0}")]
    Here(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Here(why)
    }
}

impl Failed {
    /// Whether the same may succeed a moment later, when the proxy runs.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_passing(),
            Self::Session(error) => matches!(error, Error::Disconnected(_)),
            Self::Here(_) => false,
        }
    }
}

/// What a thread that makes a session needs of the adapter.
#[derive(Clone)]
pub(crate) struct Connector {
    proxies: Arc<dyn Proxies>,
    link: ProxyLink,
    notices: Notices,
}

impl Connector {
    pub(crate) fn new(proxies: Arc<dyn Proxies>, link: ProxyLink, notices: Notices) -> Self {
        Self { proxies, link, notices }
    }

    pub(crate) fn connect(&self, target: &Target) -> Result<Connected, ConnectError> {
        self.proxies.connect(target, &client_name())
    }

    pub(crate) fn find_again(&self, lost: &Lost) -> Result<Connected, ConnectError> {
        self.proxies.find_again(lost, &client_name())
    }

    /// Greets at the other end of a connection inside this process.
    pub(crate) fn greet(connection: Connection) -> Result<(Client, Events), AttachError> {
        Client::greet(connection, &client_name())
    }

    /// Makes a session over a greeted connection, and tells how that goes on.
    pub(crate) fn attach(
        &self,
        client: Client,
        events: Events,
        options: &AttachOptions,
    ) -> Result<Session, Failed> {
        if !self.link.connected(&client) {
            return Err(Failed::Here("cancelled".into()));
        }
        let notices = self.notices.clone();
        events.on_arrival(move || notices.send(Notice::Wake));
        let mut progress = |progress: &Progress| self.tell(Notice::Progress(progress.clone()));
        Ok(Session::attach(client, events, options, &mut progress)?)
    }

    pub(crate) fn tell(&self, notice: Notice) {
        self.notices.send(notice);
    }

    pub(crate) fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// Whether nobody wants a session any more; waits for that, at most so long.
    pub(crate) fn is_over_within(&self, limit: Duration) -> bool {
        self.link.ends_within(limit)
    }

    /// Ends the connection for good, also one that is made later: the proxy releases what it held.
    pub(crate) fn close(&self) {
        self.link.close();
    }
}

/// How this adapter introduces itself to a plugin.
fn client_name() -> String {
    format!("wasmdbg dap {}", env!("CARGO_PKG_VERSION"))
}
