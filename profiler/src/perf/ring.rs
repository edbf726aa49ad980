//! A ring buffer that the kernel fills. Owns reading it in place: a record is a slice of the ring, only
//! one that wraps around its end is copied. Does not know what records mean.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use super::sys::Pages;

/// The ring of one processor. Between `Ring::begin` and `Ring::end` it is read record by record, so
/// that several rings can be read in the order of time.
#[derive(Debug)]
pub struct Ring {
    pages: Pages,
    wrapped: Vec<u8>,
    /// What is settled and not yet taken.
    left: Range<u64>,
}

/// PERF_RECORD_SAMPLE, whose time lies behind its address and its thread; others have it at their end.
const SAMPLE: u32 = 9;
const SAMPLE_TIME: u64 = 24;

impl Ring {
    pub(crate) fn map(event: &OwnedFd, size: usize) -> io::Result<Self> {
        Ok(Self { pages: Pages::map(event, size)?, wrapped: Vec::new(), left: 0..0 })
    }

    /// Sees what the kernel has written until now.
    pub(crate) fn begin(&mut self) {
        self.left = self.pages.acquire();
    }

    /// The time of the next record, CLOCK_MONOTONIC in ns; `None` at the end.
    pub(crate) fn next_time(&self) -> Option<u64> {
        let size = self.size()?;
        let at = self.left.start;
        let kind = self.word(at)? as u32;
        let offset = if kind == SAMPLE { SAMPLE_TIME } else { size - 8 };
        self.word(at + offset)
    }

    /// Gives the next record to `each`, header included.
    pub(crate) fn take(&mut self, each: impl FnOnce(&[u8])) {
        let Some(size) = self.size() else { return };
        let next = self.left.start + size;
        match self.pages.settled(self.left.start..next) {
            Some((record, [])) => each(record),
            Some((first, rest)) => {
                self.wrapped.clear();
                self.wrapped.extend_from_slice(first);
                self.wrapped.extend_from_slice(rest);
                each(&self.wrapped);
            }
            None => return,
        }
        self.left.start = next;
    }

    /// Gives everything back to the kernel; what could not be read (it is no record) too: the ring goes on.
    pub(crate) fn end(&mut self) {
        self.left = 0..0;
        self.pages.release();
    }

    /// Size of the next record; `None` when there is none.
    fn size(&self) -> Option<u64> {
        let size = self.word(self.left.start)? >> 48;
        let fits = size <= self.left.end - self.left.start;
        (size >= 16 && size.is_multiple_of(8) && fits).then_some(size)
    }

    fn word(&self, at: u64) -> Option<u64> {
        // Records are multiples of 8 bytes, so an aligned word never wraps.
        let (bytes, _) = self.pages.settled(at..at.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// A ring whose other side is a file: what the kernel writes is written there.
    struct Kernel {
        file: File,
        page: u64,
    }

    const SIZE: u64 = 4096;

    impl Kernel {
        fn new() -> (Self, Ring) {
            let path = std::env::temp_dir().join(format!("wasmprof-ring-{:?}", std::thread::current().id()));
            let file =
                File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let page = super::super::sys::page_size() as u64;
            file.set_len(page + SIZE).unwrap();
            let ring = Ring::map(&file.try_clone().unwrap().into(), SIZE as usize).unwrap();
            (Self { file, page }, ring)
        }

        fn word(&self, at: u64) -> u64 {
            let mut word = [0; 8];
            self.file.read_exact_at(&mut word, at).unwrap();
            u64::from_le_bytes(word)
        }

        fn tail(&self) -> u64 {
            self.word(0x408)
        }

        fn set_head(&self, head: u64) {
            self.file.write_all_at(&head.to_le_bytes(), 0x400).unwrap();
        }

        /// A record of so many words at a position, its time at its end. It is not settled yet.
        fn write(&self, at: u64, words: u64, time: u64) -> u64 {
            for number in 0..words {
                let word = match number {
                    0 => (words * 8) << 48 | 5,
                    number if number + 1 == words => time,
                    number => number,
                };
                let index = (at + number * 8) % SIZE;
                self.file.write_all_at(&word.to_le_bytes(), self.page + index).unwrap();
            }
            at + words * 8
        }
    }

    fn drain(ring: &mut Ring) -> Vec<(u64, usize)> {
        ring.begin();
        let mut all = Vec::new();
        while let Some(time) = ring.next_time() {
            ring.take(|record| all.push((time, record.len())));
        }
        ring.end();
        all
    }

    #[test]
    fn records_are_read_up_to_the_head_that_was_seen_and_given_back_at_the_end() {
        let (kernel, mut ring) = Kernel::new();
        let first = kernel.write(0, 4, 100);
        let second = kernel.write(first, 3, 200);
        kernel.set_head(first);
        ring.begin();
        // The kernel goes on while the ring is read.
        kernel.set_head(second);
        assert_eq!(ring.next_time(), Some(100));
        ring.take(|record| assert_eq!(record.len(), 32));
        assert_eq!(ring.next_time(), None, "what was written since is not settled for this reader");
        assert_eq!(kernel.tail(), 0, "nothing is given back while it may be read");
        ring.end();
        assert_eq!(kernel.tail(), first);
        assert_eq!((drain(&mut ring), kernel.tail()), (vec![(200, 24)], second));
    }

    #[test]
    fn what_is_not_settled_is_not_given_out() {
        let (kernel, ring) = Kernel::new();
        let mut pages = ring.pages;
        let end = kernel.write(0, 4, 100);
        assert_eq!(pages.settled(0..8), None, "the head was not seen yet");
        kernel.set_head(end);
        assert_eq!(pages.acquire(), 0..end);
        assert!(pages.settled(0..end).is_some_and(|(bytes, rest)| bytes.len() == 32 && rest.is_empty()));
        assert_eq!(pages.settled(8..end + 1), None);
        pages.release();
        assert_eq!(pages.settled(0..end), None, "the kernel may write there again");
        kernel.set_head(end + SIZE + 1);
        assert_eq!(pages.acquire(), end..end, "it was overwritten");
    }

    #[test]
    fn a_record_that_wraps_is_one_and_no_record_ends_the_turn() {
        let (kernel, mut ring) = Kernel::new();
        let mut at = 0;
        while at < SIZE - 16 {
            at = kernel.write(at, 2, at);
        }
        kernel.set_head(at);
        assert_eq!(drain(&mut ring).len() as u64, SIZE / 16 - 1);
        let wrapped = kernel.write(at, 6, 7);
        kernel.set_head(wrapped);
        assert_eq!(drain(&mut ring), [(7, 48)]);
        // A size of 0, which no record has; what follows the whole turn is read.
        kernel.file.write_all_at(&0_u64.to_le_bytes(), kernel.page + wrapped % SIZE).unwrap();
        kernel.set_head(wrapped + 16);
        assert_eq!((drain(&mut ring), kernel.tail()), (vec![], wrapped + 16));
        kernel.set_head(kernel.write(wrapped + 16, 2, 9));
        assert_eq!(drain(&mut ring), [(9, 16)]);
    }
}
