//! A ring buffer that the kernel fills. Owns reading it in place: a record is a slice of the ring, only
//! one that wraps around its end is copied. Does not know what records mean.

use std::io;
use std::os::fd::OwnedFd;

use super::sys::Pages;

/// The ring of one processor.
#[derive(Debug)]
pub struct Ring {
    pages: Pages,
    wrapped: Vec<u8>,
}

impl Ring {
    pub(crate) fn map(event: &OwnedFd, size: usize) -> io::Result<Self> {
        Ok(Self { pages: Pages::map(event, size)?, wrapped: Vec::new() })
    }

    /// Gives every record to `each`, header included, and then their space back to the kernel.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        let (head, mut tail) = (self.pages.head(), self.pages.tail());
        let data = self.pages.data();
        while tail < head {
            let Some(size) = walk(data, tail, head) else { break };
            let at = (tail % data.len() as u64) as usize;
            match data.get(at..at + size) {
                Some(record) => each(record),
                None => {
                    self.wrapped.clear();
                    self.wrapped.extend_from_slice(&data[at..]);
                    self.wrapped.extend_from_slice(&data[..size - (data.len() - at)]);
                    each(&self.wrapped);
                }
            }
            tail += size as u64;
        }
        // What could not be read (it is not a record) is given back too: the ring goes on.
        self.pages.release(head);
    }
}

/// Size of the record at `tail`; `None` when it is none. Records are aligned to 8 bytes, so a header
/// never wraps.
fn walk(data: &[u8], tail: u64, head: u64) -> Option<usize> {
    let at = (tail % data.len() as u64) as usize;
    let size = usize::from(u16::from_le_bytes(data.get(at + 6..at + 8)?.try_into().ok()?));
    (size >= 8 && tail + size as u64 <= head && size <= data.len()).then_some(size)
}
