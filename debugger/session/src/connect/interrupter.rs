//! Commands that may come from another thread while the session waits for events.

use wasmdbg_control::session::Activity;
use wasmdbg_control::stop::Interrupt;
use wasmdbg_control::{Client, SlotId};

use crate::error::Error;

/// Made by [`crate::Session::interrupter`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupter {
    client: Client,
}

impl Interrupter {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// See [`crate::Session::interrupt`].
    ///
    /// # Errors
    /// No callback runs, or the connection is gone.
    pub fn interrupt(&self, slot: Option<SlotId>) -> Result<u32, Error> {
        Ok(self.client.call(Interrupt { slot })?.slots)
    }

    /// See [`crate::Session::activity`].
    ///
    /// # Errors
    /// The connection is gone.
    pub fn activity(&self) -> Result<(), Error> {
        self.client.call(Activity {})?;
        Ok(())
    }
}
