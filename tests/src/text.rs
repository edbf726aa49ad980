//! A growing text that one thread fills from a pipe and others wait on.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Debug, Default)]
struct Inner {
    so_far: Mutex<SoFar>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct SoFar {
    text: String,
    /// Sources that were followed, and how many of them have ended.
    sources: (usize, usize),
}

impl SoFar {
    fn has_ended(&self) -> bool {
        self.sources.0 == self.sources.1
    }
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
        own.lock().sources.0 += 1;
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            let mut pending = Vec::new();
            while let Ok(count @ 1..) = source.read(&mut bytes) {
                pending.extend_from_slice(&bytes[..count]);
                own.append(&mut pending);
            }
            own.lock().sources.1 += 1;
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
        self.lock().text.push_str(&text);
        self.inner.grown.notify_all();
    }

    /// All of the text so far.
    #[must_use]
    pub fn all(&self) -> String {
        self.lock().text.clone()
    }

    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.inner.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `found` gives a value for the text behind `cursor` (a byte offset).
    ///
    /// # Errors
    /// After `limit`, or when all sources have ended without it; the error quotes the text.
    pub fn wait<T>(
        &self,
        what: &str,
        cursor: usize,
        limit: Duration,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        let mut guard = self.lock();
        loop {
            let tail = guard.text.get(cursor..).unwrap_or_default();
            if let Some(value) = found(tail) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if guard.has_ended() || left.is_zero() {
                let why = if guard.has_ended() { "ended without" } else { "does not say" };
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

    /// Of a process that ends one pipe is read to its end before the other.
    #[test]
    fn waiting_goes_on_to_the_last_sources_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let transcript = Transcript::follow(reader);
        transcript.also_follow(&b""[..]);
        let wait = |what: &'static str, limit| {
            transcript.wait(what, 0, Duration::from_secs(limit), |text| text.find(what))
        };
        let error = wait("late", 0).unwrap_err();
        assert!(error.to_string().contains("does not say"), "{error}");
        std::io::Write::write_all(&mut writer, b"late").unwrap();
        drop(writer);
        assert_eq!(wait("late", 60).unwrap(), 0);
    }
}
