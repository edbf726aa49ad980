//! What the client sends, read on a thread of its own: the adapter may be busy, and a `cancel` must overtake
//! what it cancels.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::protocol::{CancelArguments, Decoded, Incoming, Request, decode};
use crate::transport::framing;

/// What came from the client.
pub(crate) enum Received {
    /// A request, its arguments not understood yet.
    Request(Incoming),
    /// No message, and why.
    Malformed(String),
}

/// Requests that the client wants no more. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancelled {
    requests: Arc<Mutex<BTreeSet<i64>>>,
}

impl Cancelled {
    fn add(&self, arguments: &CancelArguments) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.extend(arguments.request_id);
    }

    /// Whether a request is cancelled; asked once.
    pub(crate) fn take(&self, request: i64) -> bool {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(&request)
    }
}

/// Reads messages until the stream ends or breaks, or until `take` wants no more (false).
pub(crate) fn read(input: impl Read, cancelled: &Cancelled, mut take: impl FnMut(Received) -> bool) {
    let mut input = BufReader::new(input);
    loop {
        let decoded = match framing::read(&mut input) {
            Ok(Some(body)) => decode(&body),
            Ok(None) => return,
            Err(error) => {
                take(Received::Malformed(format!("the client's stream is broken: {error}")));
                return;
            }
        };
        let received = match decoded {
            Decoded::Request(incoming) => {
                if incoming.command == "cancel"
                    && let Ok(Request::Cancel(arguments)) = Request::parse(incoming.clone())
                {
                    cancelled.add(&arguments);
                }
                Received::Request(incoming)
            }
            Decoded::Malformed(why) => Received::Malformed(why),
            Decoded::Other => continue,
        };
        if !take(received) {
            return;
        }
    }
}
