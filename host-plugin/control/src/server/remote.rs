//! Connections to a loop from inside its process.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use super::waker::Waker;

/// Makes connections to a loop from inside its process.
#[derive(Debug, Clone)]
pub struct Remote {
    streams: Arc<Mutex<Vec<UnixStream>>>,
    waker: Waker,
}

impl Remote {
    /// The client's end of a new connection: give it to [`crate::Connection::over`].
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(theirs);
        self.waker.wake();
        Ok(ours)
    }
}

/// The loop's end of a [`Remote`].
#[derive(Debug)]
pub(super) struct Incoming {
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Incoming {
    pub(super) fn take(&self) -> Vec<UnixStream> {
        std::mem::take(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn channel(waker: Waker) -> (Remote, Incoming) {
    let streams = Arc::<Mutex<Vec<UnixStream>>>::default();
    (Remote { streams: Arc::clone(&streams), waker }, Incoming { streams })
}
