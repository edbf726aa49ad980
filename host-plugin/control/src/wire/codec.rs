//! Frames: a big-endian `u32` length and that many bytes of JSON, one [`Message`] each.
//!
//! Owns the only place where bytes become messages. It does no I/O, and no untyped JSON leaves it.

use crate::messages::message::{ErrorKind, Message, WireError};

/// The largest frame body in bytes. A longer one ends the connection that sent it.
pub const MAX_FRAME: usize = 1 << 20;

/// What a list in a message may take of a frame, in bytes of JSON, where filters or clients decide how long it
/// is; the rest is for what goes with it.
pub const MAX_LIST: usize = 900 << 10;

/// Bytes of the length in front of each frame.
const HEADER: usize = 4;

/// Characters of an error's text that are kept when all of it does not fit a frame.
const ERROR_TEXT: usize = 4096;

/// A frame that ends the connection it came from: what follows it cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length alone says so; nothing of the body was kept.
    #[error("a frame of {length} bytes is over the limit of {MAX_FRAME}")]
    TooLarge {
        /// The length that the frame claims, in bytes.
        length: usize,
    },
    /// The body is no message of this protocol.
    #[error("a frame of {length} bytes is no message of the control protocol: {reason}")]
    Malformed {
        /// The body's length in bytes.
        length: usize,
        /// What is wrong, and at which line and column of the JSON text.
        reason: String,
    },
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame, after {received} bytes of it")]
    Truncated {
        /// Bytes of the unfinished frame, its length included.
        received: usize,
    },
}

/// A message that does not fit a frame. Answers never fail this way: see [`encode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A request or an event with too much in it. Bounds at the source keep events below the limit.
    #[error("a message of {length} bytes does not fit a frame of {MAX_FRAME}")]
    TooLarge {
        /// The JSON text's length in bytes.
        length: usize,
    },
    /// The message has no JSON form, such as a percentage that is not a number.
    #[error("a message has no JSON form: {reason}")]
    Json {
        /// What stands in the way.
        reason: String,
    },
}

/// The frame of `message`. A response that does not fit becomes an error response of the same id, so
/// that the client that asked learns why and the connection lives; the text of an error is cut.
///
/// # Errors
/// A request or an event that does not fit, or a message without a JSON form.
pub fn encode(message: &Message) -> Result<Vec<u8>, EncodeError> {
    match (frame(message), message) {
        (Err(EncodeError::TooLarge { length }), Message::Response { id, .. }) => {
            let text = format!(
                "the reply of {length} bytes does not fit a frame of {MAX_FRAME}: ask for less at once"
            );
            frame(&Message::Error { id: *id, error: WireError::new(ErrorKind::State, text) })
        }
        (Err(EncodeError::TooLarge { .. }), Message::Error { id, error }) => {
            let text = crate::text::cut(&error.message, ERROR_TEXT);
            frame(&Message::Error { id: *id, error: WireError::new(error.kind, text) })
        }
        (result, _) => result,
    }
}

/// The first of `items` that take at most `bytes` as JSON, and how many do not fit.
pub fn fitting<T: serde::Serialize>(items: Vec<T>, bytes: usize) -> (Vec<T>, usize) {
    let count = items.len();
    let mut left = bytes;
    let fits = |item: &T| {
        // A comma behind each. What has no JSON form makes no frame either.
        let size = serde_json::to_vec(item).map_or(usize::MAX, |text| text.len() + 1);
        left.checked_sub(size).map(|rest| left = rest).is_some()
    };
    let fitting: Vec<T> = items.into_iter().take_while(fits).collect();
    let rest = count - fitting.len();
    (fitting, rest)
}

fn frame(message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)
        .map_err(|error| EncodeError::Json { reason: error.to_string() })?;
    let length = bytes.len() - HEADER;
    match u32::try_from(length) {
        Ok(header) if length <= MAX_FRAME => {
            bytes[..HEADER].copy_from_slice(&header.to_be_bytes());
            Ok(bytes)
        }
        _ => Err(EncodeError::TooLarge { length }),
    }
}

/// Takes bytes as they arrive, gives messages as they are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were given out already.
    taken: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of the stream that are in no message given out so far.
    pub fn undecoded(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// The next complete message, `None` while there is none.
    ///
    /// # Errors
    /// The stream is unusable from here on.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let rest = &self.buffer[self.taken..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge { length });
        }
        let Some(body) = body.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)
            .map_err(|error| FrameError::Malformed { length, reason: error.to_string() })?;
        self.taken += HEADER + length;
        Ok(Some(message))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.undecoded() {
            0 => Ok(()),
            received => Err(FrameError::Truncated { received }),
        }
    }
}
