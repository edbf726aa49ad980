//! What the threads of a session tell the adapter.

use std::path::PathBuf;
use std::sync::Arc;

use wasmdbg_session::{Progress, Session};

use crate::session::launched::Launched;

/// One thing to tell.
pub(crate) enum Notice {
    /// The session has events.
    Wake,
    /// The attach goes on.
    Progress(Progress),
    /// There is a session, or there cannot be one.
    Started(Box<Result<Started, String>>),
    /// What happens in a launched proxy.
    ProxyOutput(String),
    /// All requests of a launch have been played.
    Played,
}

/// A session that has been made.
pub(crate) struct Started {
    pub(crate) session: Session,
    /// The control socket of its proxy, if that has a process of its own.
    pub(crate) socket: Option<PathBuf>,
    /// Its proxy, if it is one of our own.
    pub(crate) launched: Option<Launched>,
}

/// Where notices go. Nobody reads them once the adapter has ended.
#[derive(Clone)]
pub(crate) struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

impl Notices {
    pub(crate) fn new(take: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn send(&self, notice: Notice) {
        (self.0)(notice);
    }
}
