//! A ring buffer that the kernel fills. Owns reading it in place: a record is a slice of the ring, only
//! one that wraps around its end is copied. Does not know what records mean.

use std::io;
use std::os::fd::OwnedFd;

use super::sys::Pages;

/// The ring of one processor. Between `Ring::begin` and `Ring::end` it is read record by record, so
/// that several rings can be read in the order of time.
#[derive(Debug)]
pub struct Ring {
    pages: Pages,
    wrapped: Vec<u8>,
    at: u64,
    head: u64,
}

/// PERF_RECORD_SAMPLE, whose time lies behind its address and its thread; others have it at their end.
const SAMPLE: u32 = 9;
const SAMPLE_TIME: u64 = 24;

impl Ring {
    pub(crate) fn map(event: &OwnedFd, size: usize) -> io::Result<Self> {
        Ok(Self { pages: Pages::map(event, size)?, wrapped: Vec::new(), at: 0, head: 0 })
    }

    /// Sees what the kernel has written until now.
    pub(crate) fn begin(&mut self) {
        (self.at, self.head) = (self.pages.tail(), self.pages.head());
    }

    /// The time of the next record, CLOCK_MONOTONIC in ns; `None` at the end.
    pub(crate) fn next_time(&self) -> Option<u64> {
        let size = self.size()?;
        let kind = self.word(self.at)? as u32;
        let offset = if kind == SAMPLE { SAMPLE_TIME } else { size - 8 };
        self.word(self.at + offset)
    }

    /// Gives the next record to `each`, header included.
    pub(crate) fn take(&mut self, each: impl FnOnce(&[u8])) {
        let Some(size) = self.size() else { return };
        let data = self.pages.data();
        let at = (self.at % data.len() as u64) as usize;
        let length = size as usize;
        match data.get(at..at + length) {
            Some(record) => each(record),
            None => {
                self.wrapped.clear();
                self.wrapped.extend_from_slice(&data[at..]);
                self.wrapped.extend_from_slice(&data[..length - (data.len() - at)]);
                each(&self.wrapped);
            }
        }
        self.at += size;
    }

    /// Gives everything back to the kernel; what could not be read (it is no record) too: the ring goes on.
    pub(crate) fn end(&mut self) {
        self.at = self.head;
        self.pages.release(self.head);
    }

    /// Size of the next record; `None` when there is none.
    fn size(&self) -> Option<u64> {
        let size = self.word(self.at)? >> 48;
        let fits = self.at + size <= self.head && size <= self.pages.data().len() as u64;
        (size >= 16 && size.is_multiple_of(8) && fits).then_some(size)
    }

    /// Records are multiples of 8 bytes, so an aligned word never wraps.
    fn word(&self, at: u64) -> Option<u64> {
        let data = self.pages.data();
        let index = (at % data.len() as u64) as usize;
        let bytes = data.get(index..index + 8).filter(|_| at + 8 <= self.head)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}
