//! When the proxy is gone: a thread looks for it until it is back, and attaches with the rules that were in
//! force. The user's requests keep matching.

use std::time::{Duration, Instant};

use wasmdbg_control::rules::Rule;
use wasmdbg_session::AttachOptions;
use wasmdbg_session::proxy::Lost;
use wasmdbg_session::text::show_duration;

use crate::protocol::AttachArguments;
use crate::session::arguments::options;
use crate::session::connector::{Connector, Failed};
use crate::session::notice::{Notice, Started};

/// How often it is looked for.
const PERIOD: Duration = Duration::from_millis(200);

/// What is looked for, how long, and what comes then.
pub(crate) struct Search {
    pub(crate) lost: Lost,
    pub(crate) arguments: AttachArguments,
    /// Those that were in force: a token among them that the plugin made.
    pub(crate) rules: Vec<Rule>,
    pub(crate) patience: Duration,
}

impl Search {
    /// Starts the thread.
    pub(crate) fn start(self, connector: Connector) -> std::io::Result<()> {
        let run = move || self.run(&connector);
        std::thread::Builder::new().name("wasmdbg-reconnect".into()).spawn(run).map(drop)
    }

    fn run(&self, connector: &Connector) {
        let start = Instant::now();
        let result = loop {
            let failed = match self.attach(connector) {
                Ok(started) => break Ok(started),
                Err(failed) => failed,
            };
            if !failed.is_passing() {
                break Err(format!("the proxy is back and cannot be attached to: {failed}"));
            }
            if start.elapsed() >= self.patience {
                let patience = show_duration(self.patience);
                break Err(format!("the proxy has not come back within {patience}: {failed}"));
            }
            if connector.is_over_within(PERIOD) {
                return;
            }
        };
        connector.tell(Notice::Started(Box::new(result)));
    }

    fn attach(&self, connector: &Connector) -> Result<Started, Failed> {
        let connected = connector.find_again(&self.lost)?;
        let options = AttachOptions {
            filters: self.arguments.filter.clone(),
            all: self.rules.is_empty(),
            rules: self.rules.clone(),
            ..options(&self.arguments.common, false)?
        };
        let session = connector.attach(connected.client, connected.events, &options)?;
        Ok(Started { session, socket: Some(connected.socket), launched: None })
    }
}
