//! Reads jitdumps of any producer: code that was loaded, moved, and its lines, each with its time. Format:
//! `tools/perf/Documentation/jitdump-specification.txt` of the kernel, version 1, little-endian.

use std::collections::HashMap;
use std::sync::Arc;

use super::timeline::{JitCode, JitLine, Timeline};

/// Why a file is no jitdump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JitdumpError {
    /// Another file.
    #[error("this is no jitdump: it does not begin with JiTD")]
    Magic,
    /// Of a machine with the other byte order.
    #[error("the jitdump comes from a big-endian machine, which is not supported")]
    Endian,
    /// Another version.
    #[error("the jitdump has version {0} of its format: only version 1 is known")]
    Version(u32),
}

const LOAD: u32 = 0;
const MOVE: u32 = 1;
const DEBUG_INFO: u32 = 2;

/// Reads a jitdump that comes in parts.
#[derive(Debug, Default)]
pub struct Parser {
    /// The producer's pid, once the head has been read.
    pid: Option<u32>,
    /// What is left of a head that is longer than the first part.
    skip: usize,
    /// A record that is none has come: nobody knows where the next one begins.
    damaged: bool,
    /// Of code that is still to come, by its address.
    lines: HashMap<u64, Vec<JitLine>>,
    files: HashMap<Vec<u8>, Arc<str>>,
}

impl Parser {
    /// Adds the code of the whole records at the start of `bytes` to `timeline`, and returns how many bytes these are: the
    /// next part begins behind them. The first part must have the file's head.
    ///
    /// # Errors
    /// See [`JitdumpError`].
    pub fn feed(&mut self, bytes: &[u8], timeline: &mut Timeline) -> Result<usize, JitdumpError> {
        if self.pid.is_none() {
            self.skip = self.head(bytes)?;
        }
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let mut rest = Reader(&bytes[skipped..]);
        let mut used = skipped;
        while !self.damaged
            && let Some((kind, time, body)) = rest.record()
        {
            let Some(body) = body else {
                self.damaged = true;
                break;
            };
            used = bytes.len() - rest.0.len();
            let mut body = Reader(body);
            // A record that does not hold what it should is left out: its size says where the next one begins.
            let _ = match kind {
                LOAD => load(&mut body, time, &mut self.lines, timeline),
                MOVE => moved(&mut body, time, timeline),
                DEBUG_INFO => debug_info(&mut body, &mut self.files).map(|(address, found)| {
                    self.lines.insert(address, found);
                }),
                // The end of code is never used by a producer; unwinding is by frame pointers.
                _ => None,
            };
        }
        Ok(if self.damaged { bytes.len() } else { used })
    }

    /// The producer's pid; none before the first part.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Reads the head, and returns its size.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, JitdumpError> {
        let mut reader = Reader(bytes);
        match reader.u32() {
            Some(0x4a69_5444) => {}
            Some(0x4454_694a) => return Err(JitdumpError::Endian),
            _ => return Err(JitdumpError::Magic),
        }
        let version = reader.u32().ok_or(JitdumpError::Magic)?;
        if version != 1 {
            return Err(JitdumpError::Version(version));
        }
        let size = reader.u32().ok_or(JitdumpError::Magic)? as usize;
        let pid = bytes.get(20..24).and_then(|pid| pid.try_into().ok());
        self.pid = Some(pid.map_or(0, u32::from_le_bytes));
        Ok(size.max(40))
    }
}

/// Adds the code of a whole jitdump to `timeline`. A torn last record is left out. Returns the producer's pid.
///
/// # Errors
/// See [`JitdumpError`].
pub fn read(bytes: &[u8], timeline: &mut Timeline) -> Result<u32, JitdumpError> {
    let mut parser = Parser::default();
    parser.feed(bytes, timeline)?;
    Ok(parser.pid().unwrap_or_default())
}

fn load(
    body: &mut Reader<'_>,
    time: u64,
    lines: &mut HashMap<u64, Vec<JitLine>>,
    timeline: &mut Timeline,
) -> Option<()> {
    let _pid_and_tid = body.take(8)?;
    let address = body.u64()?;
    let code_address = body.u64()?;
    let size = body.u64()?;
    let index = body.u64()?;
    let name = body.text()?;
    let lines = lines.remove(&code_address).unwrap_or_default();
    timeline.add(
        address,
        size,
        time,
        Some(index),
        JitCode { name: String::from_utf8_lossy(name).into_owned(), lines },
    );
    timeline.add_bytes(body.0);
    Some(())
}

fn moved(body: &mut Reader<'_>, time: u64, timeline: &mut Timeline) -> Option<()> {
    let _pid_and_tid = body.take(8)?;
    let address = body.u64()?;
    let _old_and_new = body.take(16)?;
    let size = body.u64()?;
    timeline.move_to(body.u64()?, address, size, time);
    Some(())
}

fn debug_info(body: &mut Reader<'_>, files: &mut HashMap<Vec<u8>, Arc<str>>) -> Option<(u64, Vec<JitLine>)> {
    let address = body.u64()?;
    let count = body.u64()?;
    let mut lines = Vec::new();
    let mut last: Option<Arc<str>> = None;
    for _ in 0..count {
        let at = body.u64()?;
        let line = body.u32()?;
        let _discriminator = body.u32()?;
        // `\xff` stands for the file before.
        let file = match (body.text()?, &last) {
            (b"\xff", Some(last)) => Arc::clone(last),
            (name, _) => Arc::clone(
                files.entry(name.to_vec()).or_insert_with(|| String::from_utf8_lossy(name).as_ref().into()),
            ),
        };
        last = Some(Arc::clone(&file));
        lines.push(JitLine { offset: at.saturating_sub(address), file, line });
    }
    lines.sort_by_key(|line| line.offset);
    Some((address, lines))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// The next record, when all of it is there; without a body when its size cannot be one.
    fn record(&mut self) -> Option<(u32, u64, Option<&'a [u8]>)> {
        let mut rest = Reader(self.0);
        let kind = rest.u32()?;
        let size = rest.u32()? as usize;
        let time = rest.u64()?;
        let body = match size.checked_sub(16) {
            Some(length) => Some(rest.take(length)?),
            None => None,
        };
        *self = rest;
        Some((kind, time, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, time: u64, body: &[u8]) -> Vec<u8> {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend((16 + body.len() as u32).to_le_bytes());
        out.extend(time.to_le_bytes());
        out.extend(body);
        out
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn file() -> Vec<u8> {
        let mut out = Vec::new();
        for word in [0x4a69_5444u32, 1, 40, 62, 0, 77, 0, 0, 0, 0] {
            out.extend(word.to_le_bytes());
        }
        let mut info = words(&[0x1000, 2, 0x1000, 42]);
        info.extend(b"a.rs\0");
        info.extend(words(&[0x1004, 43]));
        info.extend(b"\xff\0");
        out.extend(record(DEBUG_INFO, 5, &info));
        let mut load = words(&[77, 0x1000, 0x1000, 8, 3]);
        load.extend(b"f\0\x55\x55\x55\x55\x55\x55\x55\x55");
        out.extend(record(LOAD, 5, &load));
        out.extend(record(99, 5, b"unknown"));
        out.extend(record(MOVE, 9, &words(&[77, 0x2000, 0x1000, 0x2000, 8, 3])));
        out
    }

    #[test]
    fn code_is_found_by_address_and_time() {
        let mut timeline = Timeline::default();
        timeline.keep_bytes();
        assert_eq!(read(&file(), &mut timeline), Ok(77));
        assert_eq!(timeline.bytes(0), Some(&[0x55; 8][..]));
        let (code, offset) = timeline.find(0x1005, 6).unwrap();
        assert_eq!((code.name.as_str(), offset), ("f", 5));
        assert_eq!(code.line_at(5).map(|line| (&*line.file, line.line)), Some(("a.rs", 43)));
        assert!(timeline.find(0x1005, 4).is_none(), "it was not there yet");
        assert!(timeline.find(0x2005, 6).is_none(), "it had not moved yet");
        assert_eq!(timeline.find(0x2005, 9).map(|found| found.0.name.as_str()), Some("f"));
    }

    #[test]
    fn parts_of_any_size_give_the_same() {
        let (whole, mut once) = (file(), Timeline::default());
        read(&whole, &mut once).unwrap();
        for size in 40..whole.len() {
            let (mut parser, mut timeline, mut rest) = (Parser::default(), Timeline::default(), Vec::new());
            for part in whole.chunks(size) {
                rest.extend_from_slice(part);
                let used = parser.feed(&rest, &mut timeline).unwrap();
                rest.drain(..used);
            }
            assert_eq!((parser.pid(), rest.len()), (Some(77), 0), "{size}");
            assert_eq!((timeline.loads(), timeline.codes()), (once.loads(), once.codes()), "{size}");
        }
    }

    #[test]
    fn cuts_and_changes_never_panic() {
        let whole = file();
        for end in 0..whole.len() {
            let _ = read(&whole[..end], &mut Timeline::default());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = read(&bytes, &mut Timeline::default());
        }
        assert_eq!(read(b"ELF", &mut Timeline::default()), Err(JitdumpError::Magic));
    }
}
