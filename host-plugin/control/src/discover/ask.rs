//! Which of a process's sockets is the plugin's: they are asked one after the other, so many and no more, within
//! one time limit. The process can be another user's, with any number of sockets that never greet.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::events::Events;
use crate::client::{AttachError, Client};

/// Sockets of one process that are asked; usually there is one.
pub const MAX_ASKED: usize = 8;

/// A greeted connection.
#[derive(Debug)]
pub struct Greeted {
    /// For requests.
    pub client: Client,
    /// What the proxy says unasked.
    pub events: Events,
    /// Where the proxy's control socket is.
    pub socket: PathBuf,
}

/// Why none of them is it.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", remark(*asked, *left_out))]
pub struct NobodyGreeted {
    /// Of the one that tells most: the first, unless a later one knows the protocol.
    pub error: AttachError,
    /// Its path.
    pub socket: PathBuf,
    /// How many were asked.
    pub asked: usize,
    /// How many there are besides.
    pub left_out: usize,
}

fn remark(asked: usize, left_out: usize) -> String {
    match (asked, left_out) {
        (0 | 1, 0) => String::new(),
        (_, 0) => format!(" (none of the {asked} sockets of this process is the plugin's)"),
        _ => format!(
            " (none of {asked} sockets of this process is the plugin's, and {left_out} more were not asked: give \
             the socket's path)"
        ),
    }
}

/// Connects to the first of `paths` that greets; `name` is the client's. All of it takes at most `patience`, of
/// which each has an equal share of what those before it have left.
///
/// # Errors
/// None of the first [`MAX_ASKED`] greets.
pub fn greet_first(paths: &[PathBuf], name: &str, patience: Duration) -> Result<Greeted, NobodyGreeted> {
    let deadline = Instant::now() + patience;
    let asked = &paths[..paths.len().min(MAX_ASKED)];
    let mut best: Option<(AttachError, &PathBuf)> = None;
    for (index, socket) in asked.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(asked.len() - index).unwrap_or(1);
        match Client::unix_within(socket, name, share) {
            Ok((client, events)) => return Ok(Greeted { client, events, socket: socket.clone() }),
            Err(error) if best.is_none() || error.knows_protocol() => best = Some((error, socket)),
            Err(_) => {}
        }
    }
    let (error, socket) =
        best.map_or((AttachError::NoSocket, PathBuf::new()), |(error, socket)| (error, socket.clone()));
    Err(NobodyGreeted { error, socket, asked: asked.len(), left_out: paths.len() - asked.len() })
}
