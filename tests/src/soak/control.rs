//! The control socket, as a debugger uses it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use wasmdbg_control::Client;
use wasmdbg_control::rules::Rule;
use wasmdbg_control::session::{Attach, Detach, LaneStart};
use wasmdbg_control::status::{GetStatus, Status};

use crate::ats::Ats;
use crate::scratch::PATIENCE;

/// A proxy's control socket, and a connection that only looks.
#[derive(Debug)]
pub(super) struct Control {
    socket: PathBuf,
    client: Client,
}

impl Control {
    pub(super) fn new(ats: &Ats) -> Result<Self> {
        let socket = ats.socket()?;
        let (client, _) = Client::unix(&socket, "soak")?;
        Ok(Self { socket, client })
    }

    pub(super) fn status(&self) -> Result<Status> {
        self.client.call_within(GetStatus {}, PATIENCE).context("the proxy's status")
    }

    /// How many transactions are paused in a filter.
    pub(super) fn paused(&self, filter: &str) -> Result<u64> {
        let status = self.status()?;
        let found = status.filters.iter().find(|known| known.name == filter);
        Ok(found.with_context(|| format!("no filter {filter}"))?.counters.paused)
    }

    /// Attaches to a filter by a rule that takes nothing, and leaves: with `Detach`, or by closing the
    /// connection.
    pub(super) fn attach_and_leave(&self, filter: &str, politely: bool) -> Result<()> {
        let (client, _events) = Client::unix(&self.socket, "soak")?;
        let rule = Rule::Header { name: "x-soak".into(), value: "nobody".into() };
        let attach = Attach {
            filters: vec![filter.into()],
            rules: vec![rule],
            all: false,
            deadline_ms: None,
            start: LaneStart::AtOnce,
        };
        let attached = client.call_within(attach, PATIENCE)?;
        ensure!(attached.filters.len() == 1, "{attached:?}");
        if politely {
            client.call_within(Detach {}, PATIENCE)?;
        }
        Ok(())
    }
}
