//! A session at a terminal: what is looked at, what the user was told, and waiting for the proxy. What commands
//! do is in [`crate::commands`]; lines come from [`crate::prompt`].

mod events;
mod last_logs;
mod launched;
mod place;
mod selection;
mod unseen;
mod waiting;

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wasmdbg_control::TransactionId;
use wasmdbg_session::Session;

use self::last_logs::LastLogs;
pub(crate) use self::launched::LaunchedProxy;
pub(crate) use self::selection::{Listed, Selection};
use self::unseen::Unseen;
pub(crate) use self::waiting::Until;
use crate::failure::explain;
use crate::show::count;
use crate::show::rules::announce_rules;
use crate::terminal::console::Console;
use crate::terminal::input::Input;

/// How commands come and what waiting means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A person types: events are shown as they come, Ctrl-C ends waiting.
    Terminal,
    /// A program types at the same prompt.
    Pipe,
    /// A script: only commands that wait take stops, and waiting has a limit.
    Batch,
}

/// Where the user is.
pub(crate) struct User {
    pub(crate) mode: Mode,
    pub(crate) inputs: Receiver<Input>,
    /// How long a command waits for a stop; `None`: as long as it takes.
    pub(crate) timeout: Option<Duration>,
}

/// The parts that commands work on.
pub(crate) struct Debugger {
    pub(crate) session: Session,
    pub(crate) console: Console,
    pub(crate) selection: Selection,
    pub(crate) user: User,
    unseen: Unseen,
    last_logs: LastLogs,
    /// Transactions that were stopped here, as they are called.
    stopped_once: HashMap<TransactionId, String>,
    launched: Option<LaunchedProxy>,
    /// The rules were said, and the proxy of this process was started.
    opened: bool,
    /// The session is over: the proxy is gone.
    gone: bool,
}

impl Debugger {
    pub(crate) fn new(
        session: Session,
        console: Console,
        user: User,
        launched: Option<LaunchedProxy>,
    ) -> Self {
        Self {
            session,
            console,
            selection: Selection::default(),
            user,
            unseen: Unseen::default(),
            last_logs: LastLogs::default(),
            stopped_once: HashMap::new(),
            launched,
            opened: false,
            gone: false,
        }
    }

    /// Says once which requests can stop, and starts the proxy of this process.
    pub(crate) fn open(&mut self) {
        if std::mem::replace(&mut self.opened, true) {
            return;
        }
        announce_rules(self.session.attached(), &mut self.console);
        if let Some(launched) = &mut self.launched
            && let Err(error) = launched.start(&self.session, &mut self.console)
        {
            self.console.complain(&explain(&error));
        }
    }

    /// Whether there are requests that are played once.
    pub(crate) fn plays(&self) -> bool {
        self.launched.as_ref().is_some_and(LaunchedProxy::plays)
    }

    /// Whether all requests have been played, and what was told of those that stopped has come.
    fn is_played(&self) -> bool {
        self.stopped_once.is_empty() && self.launched.as_ref().is_some_and(LaunchedProxy::is_played)
    }

    /// Whether the proxy is gone, and the session with it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends the session; says what went on.
    pub(crate) fn detach(self) {
        let mut console = self.console;
        match self.session.detach() {
            Ok(detached) if detached.released > 0 => {
                let goes = if detached.released == 1 { "goes" } else { "go" };
                let callbacks = count(detached.released.into(), "stopped callback");
                console.say(&format!("Detached; {callbacks} {goes} on"));
            }
            Ok(_) => console.say("Detached"),
            Err(error) => console.complain(&error.to_string()),
        }
    }
}
