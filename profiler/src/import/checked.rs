//! A perf.data file whose head has been checked: the reader behind it believes the sizes that it finds there,
//! and a wrong one would make it ask for all memory. Feature sections (host name, topology, …) are hidden:
//! nothing here needs them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::perf::Event;

/// `struct perf_file_header`: magic, two sizes, three sections, the bits of features.
const HEAD: usize = 104;
/// The old section of event types, and the bits of features.
const HIDDEN: Range<usize> = 56..HEAD;
/// More events than any `perf record` opens, each of at most this size.
const LARGEST_ATTRIBUTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Checked {
    file: File,
    head: [u8; HEAD],
    at: u64,
    first: FirstEvent,
}

/// The first event of a file, and how to tell its samples from those of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FirstEvent {
    kind: u32,
    config: u64,
    sample_type: u64,
    read_format: u64,
    /// Rising.
    ids_of_others: Vec<u64>,
}

impl FirstEvent {
    /// `attribute`: a `struct perf_event_attr`.
    fn new(attribute: &[u8], mut ids_of_others: Vec<u64>) -> Self {
        ids_of_others.sort_unstable();
        let (kind, config) = (word(attribute, 0) as u32, word(attribute, 8));
        let (sample_type, read_format) = (word(attribute, 24), word(attribute, 32));
        Self { kind, config, sample_type, read_format, ids_of_others }
    }

    /// PERF_SAMPLE_STACK_USER: samples have copies of stacks.
    pub(super) fn copies_stacks(&self) -> bool {
        self.sample_type & 1 << 13 != 0
    }

    /// PERF_FORMAT_LOST: a counter's value has the number of lost samples behind it.
    pub(super) fn counts_lost(&self) -> bool {
        self.read_format & 1 << 4 != 0
    }

    /// Whether a sample with this id is one of its own.
    pub(super) fn has(&self, id: Option<u64>) -> bool {
        id.is_none_or(|id| self.ids_of_others.binary_search(&id).is_err())
    }

    /// The event's name, and the unit of its samples' weights.
    pub(super) fn name_and_unit(&self) -> (String, &'static str) {
        // PERF_COUNT_SW_TASK_CLOCK
        if (self.kind, self.config) == (1, 1) {
            return ("task-clock".into(), "ns");
        }
        let event = Event::of_numbers(self.kind, self.config);
        event.map_or_else(|| ("perf".into(), "events"), |event| (event.to_string(), event.unit()))
    }
}

impl Checked {
    /// Checks a file; the error says what is wrong with it.
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut head = [0; HEAD];
        file.read_exact(&mut head).map_err(|_| wrong("its head is cut short"))?;
        if !head.starts_with(b"PERFILE2") {
            return Err(wrong("it does not begin with PERFILE2"));
        }
        let inside = |offset: u64, size: u64| offset.checked_add(size).is_some_and(|end| end <= length);
        let (entry, attributes, size) = (word(&head, 16), word(&head, 24), word(&head, 32));
        // An attribute has at least 64 bytes and the section of its ids behind it.
        // Written to a pipe there is no more of a head than its magic and its size.
        if word(&head, 8) == 16 {
            return Err(wrong("it was written to a pipe: let perf record write to a file (-o FILE)"));
        }
        if word(&head, 8) < HEAD as u64 || !(80..=4096).contains(&entry) || size > LARGEST_ATTRIBUTES {
            return Err(wrong("its head is damaged"));
        }
        if !inside(attributes, size) || word(&head, 40) > length {
            return Err(wrong("it is cut short"));
        }
        file.seek(SeekFrom::Start(attributes))?;
        let mut bytes = vec![0; size as usize];
        file.read_exact(&mut bytes)?;
        let mut ids_of_others = Vec::new();
        for (number, attribute) in bytes.chunks(entry as usize).enumerate() {
            let ids = attribute.len().saturating_sub(16);
            let (ids, size) = (word(attribute, ids), word(attribute, ids + 8));
            if !inside(ids, size) || size > LARGEST_ATTRIBUTES {
                return Err(wrong("the ids of its events are damaged"));
            }
            // The reader does not read them.
            if number > 0 {
                file.seek(SeekFrom::Start(ids))?;
                let mut bytes = vec![0; size as usize];
                file.read_exact(&mut bytes)?;
                ids_of_others.extend(bytes.chunks_exact(8).map(|id| word(id, 0)));
            }
        }
        head[HIDDEN].fill(0);
        file.rewind()?;
        Ok(Self { file, head, at: 0, first: FirstEvent::new(&bytes, ids_of_others) })
    }

    /// The first event.
    pub(super) fn first(&self) -> &FirstEvent {
        &self.first
    }
}

/// A word, or 0 where there is none.
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match self.head.get(usize::try_from(self.at).unwrap_or(HEAD)..) {
            Some(mut rest) if !rest.is_empty() => {
                let count = rest.read(out)?;
                self.file.seek(SeekFrom::Start(self.at + count as u64))?;
                count
            }
            _ => self.file.read(out)?,
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Checked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with two events, with these ids, as `perf record` writes them.
    fn file(ids: [&[u64]; 2]) -> Vec<u8> {
        const ATTRIBUTE: usize = 128;
        let mut bytes = vec![0; HEAD];
        let mut put =
            |at: usize, value: usize| bytes[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
        put(8, HEAD);
        put(16, ATTRIBUTE + 16);
        put(24, HEAD);
        put(32, 2 * (ATTRIBUTE + 16));
        bytes[..8].copy_from_slice(b"PERFILE2");
        let mut at = HEAD + 2 * (ATTRIBUTE + 16);
        for ids in ids {
            bytes.resize(bytes.len() + ATTRIBUTE, 0);
            bytes.extend((at as u64).to_le_bytes());
            bytes.extend((ids.len() as u64 * 8).to_le_bytes());
            at += ids.len() * 8;
        }
        bytes.extend(ids.concat().iter().flat_map(|id| id.to_le_bytes()));
        bytes
    }

    /// An event has an id for each thread and processor.
    #[test]
    fn samples_of_another_event_are_told_by_all_of_its_ids() {
        let path = std::env::temp_dir().join(format!("wasmprof-events-{}", std::process::id()));
        std::fs::write(&path, file([&[1, 2, 3], &[4, 5]])).unwrap();
        let checked = Checked::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let first = checked.unwrap().first().clone();
        let own: Vec<u64> = (0..7).filter(|id| first.has(Some(*id))).collect();
        assert_eq!(own, [0, 1, 2, 3, 6]);
        assert!(first.has(None), "of one event samples have no ids");
    }
}
