//! Code that comes and goes at the same addresses: which piece was at an address at a time.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A piece of code that another program described.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JitCode {
    /// Its name.
    pub name: String,
    /// Lines by rising offset.
    pub lines: Vec<JitLine>,
}

/// From this byte of the code on it is of that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JitLine {
    /// In the code.
    pub offset: u64,
    /// The source file.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl JitCode {
    /// The line of a byte of the code.
    #[must_use]
    pub fn line_at(&self, offset: u64) -> Option<&JitLine> {
        let end = self.lines.partition_point(|line| line.offset <= offset);
        self.lines[..end].last()
    }
}

/// Code that was put somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Where.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// When, CLOCK_MONOTONIC in ns; 0 when it was always there.
    pub time: u64,
    /// Which, see [`Timeline::codes`].
    pub code: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Timeline {
    loads: Vec<Load>,
    codes: Vec<JitCode>,
    by_index: HashMap<u64, u32>,
    /// By the number of the code.
    bytes: Option<HashMap<u32, Box<[u8]>>>,
    /// Made at the first question after a change.
    index: OnceCell<Vec<Place>>,
}

/// What was put at an address, for look-ups.
#[derive(Debug)]
struct Place {
    start: u64,
    /// The farthest end of all code that begins here or before: nothing earlier reaches an address behind it.
    reach: u64,
    /// By time.
    loads: Vec<Load>,
}

impl Timeline {
    /// Keeps the bytes of code that is added from now on, see [`Timeline::bytes`].
    pub fn keep_bytes(&mut self) {
        self.bytes.get_or_insert_default();
    }

    /// The bytes of the code that was added last.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        if let (Some(kept), Some(last)) = (&mut self.bytes, self.codes.len().checked_sub(1)) {
            kept.insert(last as u32, bytes.into());
        }
    }

    /// The bytes of a piece of code, if they are known and kept.
    #[must_use]
    pub fn bytes(&self, code: u32) -> Option<&[u8]> {
        self.bytes.as_ref()?.get(&code).map(|bytes| &**bytes)
    }

    /// Code of `size` bytes was put at `address` at `time`. `index`: the number under which it may move.
    pub fn add(&mut self, address: u64, size: u64, time: u64, index: Option<u64>, code: JitCode) {
        let number = self.codes.len() as u32;
        self.codes.push(code);
        if let Some(index) = index {
            self.by_index.insert(index, number);
        }
        self.load(Load { address, size, time, code: number });
    }

    /// The code with this number was moved.
    pub fn move_to(&mut self, index: u64, address: u64, size: u64, time: u64) {
        if let Some(code) = self.by_index.get(&index).copied() {
            self.load(Load { address, size, time, code });
        }
    }

    fn load(&mut self, load: Load) {
        self.index.take();
        self.loads.push(load);
    }

    /// Everything that was put somewhere, in the order of its description.
    #[must_use]
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The code at an address at a time, and the offset in it. Of several the youngest counts.
    #[must_use]
    pub fn find(&self, address: u64, time: u64) -> Option<(&JitCode, u64)> {
        self.number_at(address, time).map(|(number, offset)| (&self.codes[number as usize], offset))
    }

    /// As [`Timeline::find`], with the number of the code.
    #[must_use]
    pub fn number_at(&self, address: u64, time: u64) -> Option<(u32, u64)> {
        let index = self.index.get_or_init(|| self.places());
        let until = index.partition_point(|place| place.start <= address);
        let mut best: Option<(Load, u64)> = None;
        for place in index[..until].iter().rev().take_while(|place| place.reach > address) {
            let offset = address - place.start;
            let end = place.loads.partition_point(|load| load.time <= time);
            let fits = place.loads[..end].iter().rev().find(|load| offset < load.size);
            if let Some(load) = fits
                && best.is_none_or(|(best, _)| load.time > best.time)
            {
                best = Some((*load, offset));
            }
        }
        best.map(|(load, offset)| (load.code, offset))
    }

    fn places(&self) -> Vec<Place> {
        let mut loads = self.loads.clone();
        // Of two with one time the later described counts: the sort is stable.
        loads.sort_by_key(|load| (load.address, load.time));
        let mut reach = 0;
        let place = |loads: &[Load]| {
            let start = loads[0].address;
            let longest = loads.iter().map(|load| load.size).max().unwrap_or_default();
            reach = reach.max(start.saturating_add(longest));
            Place { start, reach, loads: loads.to_vec() }
        };
        loads.chunk_by(|one, next| one.address == next.address).map(place).collect()
    }

    /// All code, by its number.
    #[must_use]
    pub fn codes(&self) -> &[JitCode] {
        &self.codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_code_at_an_old_address_counts_from_its_load_on() {
        let mut timeline = Timeline::default();
        let code = |name: &str| JitCode { name: name.into(), lines: Vec::new() };
        timeline.add(0x100, 0x40, 1, None, code("old"));
        timeline.add(0x110, 0x10, 5, None, code("new"));
        let name = |address, time| timeline.find(address, time).map(|found| found.0.name.as_str());
        assert_eq!(name(0x118, 4), Some("old"));
        assert_eq!(name(0x118, 5), Some("new"));
        assert_eq!(name(0x128, 9), Some("old"), "the rest of the old code is still there");
        assert_eq!(name(0x140, 9), None);
        assert_eq!(name(0xff, 9), None);
    }
}
