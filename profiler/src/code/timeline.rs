//! Code that comes and goes at the same addresses: which piece was at an address at a time.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
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

/// See the module.
#[derive(Debug, Default)]
pub struct Timeline {
    /// By start: what was put there, by time of its load.
    starts: BTreeMap<u64, Vec<(u64, u64, u32)>>,
    codes: Vec<JitCode>,
    by_index: HashMap<u64, u32>,
    /// Made at the first question after a change.
    index: OnceCell<Vec<Place>>,
}

/// What was put at an address, for look-ups.
#[derive(Debug)]
struct Place {
    start: u64,
    /// The farthest end of all code that begins here or before: nothing earlier reaches an address behind it.
    reach: u64,
    /// Time, size and number of the code, by time.
    loads: Vec<(u64, u64, u32)>,
}

impl Timeline {
    /// Code of `size` bytes was put at `address` at `time`. `index`: the number under which it may move.
    pub fn add(&mut self, address: u64, size: u64, time: u64, index: Option<u64>, code: JitCode) {
        let number = self.codes.len() as u32;
        self.codes.push(code);
        if let Some(index) = index {
            self.by_index.insert(index, number);
        }
        self.place(address, size, time, number);
    }

    /// The code with this number was moved.
    pub fn move_to(&mut self, index: u64, address: u64, size: u64, time: u64) {
        if let Some(number) = self.by_index.get(&index).copied() {
            self.place(address, size, time, number);
        }
    }

    fn place(&mut self, address: u64, size: u64, time: u64, number: u32) {
        self.index.take();
        let here = self.starts.entry(address).or_default();
        let at = here.partition_point(|entry| entry.0 <= time);
        here.insert(at, (time, size, number));
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
        let mut best: Option<(u64, u32, u64)> = None;
        for Place { start, loads: here, .. } in
            index[..until].iter().rev().take_while(|place| place.reach > address)
        {
            let offset = address - start;
            let end = here.partition_point(|entry| entry.0 <= time);
            let fits = here[..end].iter().rev().find(|entry| offset < entry.1);
            if let Some((loaded, _, number)) = fits
                && best.is_none_or(|best| *loaded > best.0)
            {
                best = Some((*loaded, *number, offset));
            }
        }
        best.map(|(_, number, offset)| (number, offset))
    }

    fn places(&self) -> Vec<Place> {
        let mut reach = 0;
        let place = |(start, loads): (&u64, &Vec<(u64, u64, u32)>)| {
            let longest = loads.iter().map(|load| load.1).max().unwrap_or_default();
            reach = reach.max(start.saturating_add(longest));
            Place { start: *start, reach, loads: loads.clone() }
        };
        self.starts.iter().map(place).collect()
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
