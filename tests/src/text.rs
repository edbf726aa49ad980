//! A growing text that one thread fills from a pipe and others wait on.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Debug, Default)]
struct Inner {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

/// Everything a process has written so far, which a test waits on with [`Transcript::wait`].
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    inner: Arc<Inner>,
}

impl Transcript {
    /// Starts to copy `source` into a new text, to its end, on a thread of its own.
    pub fn follow(source: impl Read + Send + 'static) -> Self {
        let transcript = Self::default();
        transcript.also_follow(source);
        transcript
    }

    /// Copies one more source into the same text.
    pub fn also_follow(&self, mut source: impl Read + Send + 'static) {
        let own = self.clone();
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            let mut pending = Vec::new();
            while let Ok(count @ 1..) = source.read(&mut bytes) {
                pending.extend_from_slice(&bytes[..count]);
                own.append(&mut pending);
            }
            own.inner.text.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
            own.inner.grown.notify_all();
        });
    }

    /// Moves the whole characters of `pending` into the text; a split one waits for its rest.
    fn append(&self, pending: &mut Vec<u8>) {
        let whole = match std::str::from_utf8(pending) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => pending.len(),
        };
        let rest = pending.split_off(whole);
        let text = String::from_utf8_lossy(pending).into_owned();
        *pending = rest;
        self.inner.text.lock().unwrap_or_else(PoisonError::into_inner).0.push_str(&text);
        self.inner.grown.notify_all();
    }

    /// All of the text so far.
    #[must_use]
    pub fn all(&self) -> String {
        self.inner.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Waits until `found` gives a value for the text behind `cursor` (a byte offset).
    ///
    /// # Errors
    /// After `limit`, or when the source has ended without it; the error quotes the text.
    pub fn wait<T>(
        &self,
        what: &str,
        cursor: usize,
        limit: Duration,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        let mut guard = self.inner.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let tail = guard.0.get(cursor..).unwrap_or_default();
            if let Some(value) = found(tail) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if guard.1 || left.is_zero() {
                let why = if guard.1 { "ended without" } else { "does not say" };
                bail!("the output {why} {what}; after the last match it is:\n{tail}");
            }
            guard = self.inner.grown.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Transcript;
    use std::time::Duration;

    #[test]
    fn a_character_split_between_two_reads_arrives_whole() {
        let transcript = Transcript::default();
        let mut pending = "a→".as_bytes()[..2].to_vec();
        transcript.append(&mut pending);
        assert_eq!(transcript.all(), "a");
        pending.extend_from_slice(&"a→b".as_bytes()[2..]);
        transcript.append(&mut pending);
        assert_eq!(transcript.all(), "a→b");
    }

    #[test]
    fn waiting_ends_with_the_source() {
        let transcript = Transcript::follow(&b"one line\n"[..]);
        let error = transcript.wait("two", 0, Duration::from_secs(60), |text| text.find("two")).unwrap_err();
        assert!(error.to_string().contains("one line"), "{error}");
    }
}
