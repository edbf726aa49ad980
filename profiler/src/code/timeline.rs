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
    index: OnceCell<Index>,
}

/// For look-ups: a segment tree over the addresses at which code begins or ends. With n loads it takes n log n to make,
/// and a look-up log² n, however they overlap.
#[derive(Debug, Default)]
struct Index {
    /// Rising. The leaf with a border's number is what lies between it and the next one.
    borders: Vec<u64>,
    /// By time; of two with one time the one with the higher address counts, and then the later described one.
    loads: Vec<Load>,
    /// Loads that cover all of a node's leaves and not all of its parent's, by their rising number. The children of node n
    /// are 2n and 2n + 1, the leaves are the second half.
    nodes: Vec<Vec<u32>>,
}

impl Index {
    fn new(loads: &[Load]) -> Self {
        let mut loads: Vec<Load> = loads.iter().filter(|load| load.size > 0).copied().collect();
        loads.sort_by_key(|load| (load.time, load.address));
        let mut borders: Vec<u64> = loads.iter().flat_map(|load| [load.address, load.end()]).collect();
        borders.sort_unstable();
        borders.dedup();
        let leaves = borders.len();
        let mut nodes = vec![Vec::new(); 2 * leaves];
        let leaf = |address: u64| leaves + borders.partition_point(|border| *border < address);
        for (number, load) in (0..).zip(&loads) {
            let (mut first, mut end) = (leaf(load.address), leaf(load.end()));
            while first < end {
                if first & 1 == 1 {
                    nodes[first].push(number);
                    first += 1;
                }
                if end & 1 == 1 {
                    end -= 1;
                    nodes[end].push(number);
                }
                (first, end) = (first / 2, end / 2);
            }
        }
        Self { borders, loads, nodes }
    }

    /// The last load that covers an address at a time.
    fn find(&self, address: u64, time: u64) -> Option<&Load> {
        let leaf = self.borders.partition_point(|border| *border <= address).checked_sub(1)?;
        let ended = self.loads.partition_point(|load| load.time <= time) as u32;
        let up =
            std::iter::successors(Some(leaf + self.borders.len()), |node| (*node > 1).then_some(node / 2));
        let last = |node: usize| {
            let numbers = &self.nodes[node];
            numbers[..numbers.partition_point(|number| *number < ended)].last()
        };
        up.filter_map(last).max().map(|number| &self.loads[*number as usize])
    }
}

impl Load {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
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
        let load = self.index.get_or_init(|| Index::new(&self.loads)).find(address, time)?;
        Some((load.code, address - load.address))
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

    /// As a scan of all of them finds it.
    fn by_scan(timeline: &Timeline, address: u64, time: u64) -> Option<u32> {
        let covers = |load: &&Load| load.address <= address && address < load.end() && load.time <= time;
        let found = timeline.loads().iter().filter(covers).max_by_key(|load| (load.time, load.address));
        found.map(|load| load.code)
    }

    #[test]
    fn of_code_that_overlaps_the_same_is_found_as_by_a_scan() {
        let mut state = 0x9e37_79b9_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for count in [0, 1, 2, 3, 7, 40, 200] {
            let mut timeline = Timeline::default();
            for _ in 0..count {
                timeline.add(below(300), below(60), below(8), None, JitCode::default());
            }
            timeline.add(u64::MAX - 9, u64::MAX, 3, None, JitCode::default());
            for address in (0..370).chain([u64::MAX - 10, u64::MAX - 9, u64::MAX - 1]) {
                for time in [0, 3, 9] {
                    let found = timeline.number_at(address, time).map(|found| found.0);
                    assert_eq!(found, by_scan(&timeline, address, time), "{count}: {address} at {time}");
                }
            }
        }
    }

    /// Nested like dolls: a look-up from the innermost outwards went through all of them.
    #[test]
    fn overlapping_code_is_found_without_going_through_it() {
        const COUNT: u64 = 200_000;
        let mut timeline = Timeline::default();
        for number in 0..COUNT {
            timeline.add(number, 2 * (COUNT - number), 0, None, JitCode::default());
        }
        let outside = 2 * COUNT - 1;
        let index = timeline.index.get_or_init(|| Index::new(&timeline.loads));
        let most = 2 * COUNT.ilog2() as usize + 2;
        assert!(index.nodes.iter().map(Vec::len).sum::<usize>() <= COUNT as usize * most);
        for number in 0..COUNT {
            assert_eq!(timeline.number_at(number, 0), Some((number as u32, 0)));
            assert_eq!(timeline.number_at(outside, 0).map(|found| found.0), Some(0));
        }
    }
}
