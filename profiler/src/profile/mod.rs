//! A recording as people read it: stacks of names with weights. Symbolises each distinct frame once.

mod frames;
mod label;
mod resolve;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use rustc_hash::FxBuildHasher;

use self::frames::{FrameLine, Frames};
use self::resolve::UNKNOWN_CODE;
pub use label::{Label, LabelKind, Labels, Place};

use crate::recording::{Recording, Summary};
use crate::unwind::End;

/// How frames become names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lines {
    /// The innermost function's line is a frame of its own on top of it.
    #[default]
    Innermost,
    /// Every function's name carries the line where it stands: calls from different lines are apart.
    All,
    /// Functions only.
    None,
}

/// How a recording is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Folding {
    /// How frames become names.
    pub lines: Lines,
    /// Each thread is a root of its own. Else those are one whose names differ by a number alone: the event
    /// threads of a proxy do all the same.
    pub each_thread: bool,
    /// Adds [`Profile::line_totals`]: stacks have one line at most, so that they cannot tell how much is called
    /// from a line.
    pub line_totals: bool,
}

/// Weighted stacks of names.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Names.
    pub labels: Labels,
    /// Stacks, outermost first, each once.
    pub stacks: Vec<(Vec<u32>, u64)>,
    /// The sum of all weights.
    pub total: u64,
    /// Samples.
    pub samples: u64,
    /// What a weight is.
    pub unit: String,
    /// Title, for outputs.
    pub title: String,
    /// The recorder's figures, if it ended well.
    pub summary: Option<Summary>,
    /// How much of the weight in modules has names and lines.
    pub coverage: Coverage,
    /// Weight of the samples with a line anywhere in the stack, by the numbers of the line and its filter, where
    /// the folding asks for them.
    pub line_totals: HashMap<(u32, Option<u32>), u64, FxBuildHasher>,
}

/// How much of the weight in modules could be named. Weights of samples whose innermost frame is code of a
/// module; the engine's trampolines are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// All.
    pub wasm: u64,
    /// With a function's name.
    pub named: u64,
    /// With a source line.
    pub line: u64,
    /// Of these, taken from the nearest earlier instruction with a line.
    pub approximate: u64,
    /// Of these, in functions without lines (a library built without debug info): the line is the call's in
    /// the nearest caller that has one.
    pub caller: u64,
}

impl Profile {
    /// Symbolises and folds a recording.
    #[must_use]
    pub fn new(recording: &Recording, lines: Lines) -> Self {
        Self::fold(recording, Folding { lines, ..Folding::default() })
    }

    /// As [`Profile::new`].
    #[must_use]
    pub fn fold(recording: &Recording, folding: Folding) -> Self {
        let Folding { lines, each_thread, line_totals } = folding;
        let mut profile = Self {
            samples: recording.samples.len() as u64,
            unit: recording.info.unit.clone(),
            title: title(recording),
            summary: recording.summary.clone(),
            ..Self::default()
        };
        let frames = Frames::new(recording, lines, line_totals, &mut profile.labels);
        let names = if each_thread { HashMap::new() } else { thread_groups(recording) };
        // Threads of one name are one root.
        let mut roots: HashMap<&str, u32> = HashMap::new();
        let mut by_thread: HashMap<u32, u32, FxBuildHasher> = HashMap::default();
        let mut weights: HashMap<(u32, u32), u64, FxBuildHasher> = HashMap::default();
        for sample in &recording.samples {
            let root = *by_thread.entry(sample.tid).or_insert_with(|| {
                let name = recording.threads.get(&sample.tid).map_or("thread", String::as_str);
                let name = names.get(name).map_or(name, String::as_str);
                *roots.entry(name).or_insert_with(|| profile.labels.number(LabelKind::Thread, name))
            });
            *weights.entry((root, sample.stack)).or_default() += sample.weight;
            profile.total += sample.weight;
        }
        let mut folded: HashMap<Vec<u32>, u64, FxBuildHasher> = HashMap::default();
        let (mut stack, mut path) = (Vec::new(), Vec::new());
        for ((root, index), weight) in weights {
            path.clear();
            path.push(root);
            let end = recording.stacks.get(index, &mut stack);
            let line = profile.innermost_line(&frames, &stack, weight);
            if line_totals {
                profile.add_line_totals(&frames, &stack, weight);
            }
            let line = line.filter(|_| lines == Lines::Innermost);
            profile.unfold(&frames, &stack, end, line, &mut path);
            match folded.get_mut(&path) {
                Some(sum) => *sum += weight,
                None => drop(folded.insert(path.clone(), weight)),
            }
        }
        profile.stacks = folded.into_iter().collect();
        profile.stacks.sort_unstable_by(|a, b| compare(&a.0, &b.0));
        profile
    }

    /// Appends the names of a stack, outermost first, with the name of `line` behind those of its frame.
    fn unfold(
        &mut self,
        frames: &Frames,
        stack: &[u32],
        end: End,
        line: Option<(usize, FrameLine)>,
        path: &mut Vec<u32>,
    ) {
        let note = match end {
            End::Root => None,
            End::StackCopy => Some("[host: deeper than the stack copy]"),
            End::Elsewhere => Some("[host: on another stack]"),
            End::NoTables => Some("[host: no unwind tables]"),
            End::NoCode => Some("[host: caller unknown]"),
        };
        path.extend(note.map(|note| self.labels.number(LabelKind::Note, note)));
        let mut filter = None;
        for (depth, index) in stack.iter().enumerate().rev() {
            let frame = frames.get(*index);
            // The first frame of a filter, seen from outside, gets the filter's name below it.
            if frame.of.filter != filter {
                filter = frame.of.filter;
                path.extend(filter);
            }
            for (at, function) in (0..).zip(frames.functions(frame)) {
                // Frame pointers of code that keeps none lead through a hundred places that nobody knows.
                if path.last() == Some(function)
                    && self.labels.get(*function).text.trim_matches(['[', ']']) == UNKNOWN_CODE
                {
                    continue;
                }
                path.push(*function);
                if let Some((of, line)) = line
                    && (of, line.function) == (depth, at)
                {
                    path.push(line.label);
                }
            }
        }
    }

    fn add_line_totals(&mut self, frames: &Frames, stack: &[u32], weight: u64) {
        let mut seen = HashSet::new();
        for frame in stack.iter().map(|index| frames.get(*index)) {
            for line in frames.lines(frame).iter().flatten() {
                if seen.insert((*line, frame.of.filter)) {
                    *self.line_totals.entry((*line, frame.of.filter)).or_default() += weight;
                }
            }
        }
    }

    /// The line that counts for a sample, and which frame has it: the innermost one with a line in the
    /// module where it was taken. `None`: it was not taken in a module, or nothing there has lines.
    fn innermost_line(&mut self, frames: &Frames, stack: &[u32], weight: u64) -> Option<(usize, FrameLine)> {
        let innermost = frames.get(*stack.first()?).of;
        if !innermost.wasm {
            return None;
        }
        self.coverage.wasm += weight;
        self.coverage.named += if innermost.named { weight } else { 0 };
        for (depth, index) in stack.iter().enumerate() {
            let frame = frames.get(*index);
            if frame.of.filter != innermost.filter || !frame.of.wasm {
                return None;
            }
            let Some(line) = frame.line else { continue };
            self.coverage.line += weight;
            if depth > 0 || line.caller {
                self.coverage.caller += weight;
            } else if line.approximate {
                self.coverage.approximate += weight;
            }
            return Some((depth, line));
        }
        None
    }

    /// The weight as the user reads it: seconds for clocks, counts else.
    #[must_use]
    pub fn amount(&self, weight: u64) -> String {
        if self.unit == "ns" {
            format!("{:.3} s", weight as f64 / 1e9)
        } else {
            format!("{weight} {}", self.unit)
        }
    }

    /// A weight in percent of all.
    #[must_use]
    pub fn percent(&self, weight: u64) -> f64 {
        if self.total == 0 { 0.0 } else { weight as f64 * 100.0 / self.total as f64 }
    }
}

/// Names of threads that differ from another one's by a number alone, with the name for all of these.
fn thread_groups(recording: &Recording) -> HashMap<&str, String> {
    let mut groups: HashMap<String, HashSet<&str>> = HashMap::new();
    let sampled: HashSet<u32, FxBuildHasher> = recording.samples.iter().map(|sample| sample.tid).collect();
    for name in sampled.iter().filter_map(|tid| recording.threads.get(tid)) {
        let (start, end) = name.strip_suffix(']').map_or((name.as_str(), ""), |start| (start, "]"));
        if start.ends_with(|last: char| last.is_ascii_digit()) {
            let common = start.trim_end_matches(|c: char| c.is_ascii_digit() || " :#-_".contains(c));
            groups.entry(format!("{common}{end}")).or_default().insert(name);
        }
    }
    groups.retain(|_, names| names.len() > 1);
    groups
        .into_iter()
        .flat_map(|(group, names)| names.into_iter().map(move |name| (name, group.clone())))
        .collect()
}

/// Which stack comes first. Most of them have their outer frames in common: these are passed over by eights.
fn compare(a: &[u32], b: &[u32]) -> Ordering {
    let (eights, others) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let common = eights.iter().zip(others).take_while(|(a, b)| a == b).count() * 8;
    a[common..].cmp(&b[common..])
}

fn title(recording: &Recording) -> String {
    let info = &recording.info;
    if info.program.is_empty() {
        return String::from("Flame graph");
    }
    let program = info.program.split(' ').next().unwrap_or_default();
    let name = label::printable(program.rsplit('/').next().unwrap_or(program));
    match info.pid {
        // Of a perf.data: several processes, events, frequencies.
        0 => format!("{name}, by {}", info.recorder),
        pid => format!("{name} (process {pid}), {} at {} Hz", info.event, info.frequency),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmdbg_control::ModuleHash;
    use wasmdbg_symbols::{Function, ModulePc, Symbols};

    use super::*;
    use crate::code::address_map::AddressMap;
    use crate::code::image::{CodeKind, CompiledFunction};
    use crate::code::timeline::{JitCode, JitLine};
    use crate::recording::{ObjectInfo, SampleRow, Stacks, WasmInfo};
    use crate::target::space::{ObjectId, UNKNOWN};
    use crate::unwind::RawFrame;

    /// The filter's `half`, with a line, calls its `memcpy`, which has none; a trampoline calls `half`.
    fn recording(stacks: &[&[u32]]) -> Recording {
        let line = JitLine { offset: 0, file: "src/lib.rs".into(), line: 42 };
        let code =
            |name: &str, lines: &[JitLine]| JitCode { name: format!("first: {name}"), lines: lines.to_vec() };
        let jit = ObjectId(7);
        let frame = |number: u64| RawFrame { object: jit, address: number << 32 };
        let mut packed = Stacks::default();
        for frames in stacks {
            packed.push(frames, End::Root);
        }
        Recording {
            objects: [(jit.0, ObjectInfo::Jit { source: "test".into() })].into(),
            frames: vec![
                frame(0),
                frame(1),
                frame(2),
                RawFrame { object: UNKNOWN, address: 1 },
                frame(3),
                RawFrame { object: UNKNOWN, address: 2 },
            ],
            jit: vec![
                code("memcpy", &[]),
                code("half", std::slice::from_ref(&line)),
                code("[wasmtime]", &[]),
                code("whole", &[JitLine { line: 7, ..line }]),
            ],
            jit_filters: ["first".into()].into(),
            samples: (0..stacks.len() as u32)
                .map(|stack| SampleRow { time: 0, tid: 1, stack, weight: 1 })
                .collect(),
            stacks: packed,
            ..Recording::default()
        }
    }

    fn paths(profile: &Profile) -> Vec<String> {
        let text = |label: &u32| &*profile.labels.get(*label).text;
        let path = |(stack, _): &(Vec<u32>, u64)| stack.iter().map(text).collect::<Vec<_>>().join(";");
        profile.stacks.iter().map(path).collect()
    }

    #[test]
    fn time_in_a_function_without_lines_counts_for_the_line_that_called_it() {
        let profile = Profile::new(&recording(&[&[0, 1, 2]]), Lines::Innermost);
        assert_eq!(paths(&profile), ["thread;filter first;[wasmtime];half;src/lib.rs:42;memcpy"]);
        let expected = Coverage { wasm: 1, named: 1, line: 1, approximate: 0, caller: 1 };
        assert_eq!(profile.coverage, expected);
    }

    #[test]
    fn a_line_has_the_time_of_what_it_calls_for_its_total() {
        use crate::output::{By, rows};
        let stacks: [&[u32]; 3] = [&[1, 4, 2], &[4, 4, 2], &[0, 4, 2]];
        let folding = Folding { line_totals: true, ..Folding::default() };
        let profile = Profile::fold(&recording(&stacks), folding);
        let rows = rows(&profile, By::Line);
        let of = |row: &crate::output::Row| (row.name.clone(), row.own, row.total);
        let rows: Vec<_> = rows.iter().map(of).collect();
        assert_eq!(rows, [("src/lib.rs:7".into(), 1, 3), ("src/lib.rs:42".into(), 1, 1)]);
    }

    #[test]
    fn threads_that_differ_by_a_number_are_one_root() {
        let mut recording = recording(&[&[1], &[1], &[1], &[1]]);
        let threads = ["[ET_NET 0]", "[ET_NET 1]", "[ET_AIO 0:17]", "7"];
        for (sample, (tid, name)) in recording.samples.iter_mut().zip((1..).zip(threads)) {
            sample.tid = tid;
            recording.threads.insert(tid, name.into());
        }
        // It has no sample.
        recording.threads.insert(9, "[ET_AIO 1:17]".into());
        let roots = |each_thread| {
            let profile = Profile::fold(&recording, Folding { each_thread, ..Folding::default() });
            let root = |path: &String| path.split(';').next().map(str::to_owned);
            let mut roots: Vec<_> = paths(&profile).iter().filter_map(root).collect();
            roots.sort();
            roots
        };
        assert_eq!(roots(false), ["7", "[ET_AIO 0:17]", "[ET_NET]"]);
        assert_eq!(roots(true), ["7", "[ET_AIO 0:17]", "[ET_NET 0]", "[ET_NET 1]"]);
    }

    #[test]
    fn places_that_nobody_knows_are_one_frame() {
        let profile = Profile::new(&recording(&[&[3, 5, 3, 1, 3]]), Lines::None);
        assert_eq!(paths(&profile), ["thread;[unknown code];filter first;half;[unknown code]"]);
    }

    #[test]
    fn a_line_is_not_taken_from_beyond_the_module() {
        // Host code lies between: the filter's own call is another one.
        let profile = Profile::new(&recording(&[&[0, 3, 1], &[2, 1], &[3, 1]]), Lines::Innermost);
        let expected = Coverage { wasm: 1, named: 1, ..Coverage::default() };
        assert_eq!(profile.coverage, expected, "{:?}", paths(&profile));
        assert!(paths(&profile).iter().all(|path| !path.contains("lib.rs")), "{:?}", paths(&profile));
    }

    /// What a filter calls in the host may call the filter again: its functions are under its name there too.
    #[test]
    fn after_a_call_of_the_host_the_filters_name_is_there_again() {
        let profile = Profile::new(&recording(&[&[1, 3, 4]]), Lines::None);
        assert_eq!(paths(&profile), ["thread;filter first;whole;[unknown code];filter first;half"]);
    }

    #[test]
    fn each_thread_has_the_weight_of_its_own_samples() {
        let mut recording = recording(&[&[1], &[4], &[3]]);
        for (sample, (tid, weight)) in recording.samples.iter_mut().zip([(7, 1), (8, 10), (7, 100)]) {
            (sample.tid, sample.weight) = (tid, weight);
            recording.threads.insert(tid, format!("thread {}", char::from(b'a' + tid as u8)));
        }
        let profile = Profile::fold(&recording, Folding { each_thread: true, ..Folding::default() });
        let rows = crate::output::rows(&profile, crate::output::By::Thread);
        let rows: Vec<_> = rows.iter().map(|row| (&*row.name, row.own)).collect();
        assert_eq!(rows, [("thread h", 101), ("thread i", 10)]);
    }

    #[test]
    fn a_share_is_one_of_the_whole_time() {
        // One sample in a module, three in the host.
        let profile = Profile::new(&recording(&[&[1], &[3], &[3], &[3]]), Lines::None);
        assert_eq!((profile.coverage.wasm, profile.total, profile.percent(1)), (1, 4, 25.0));
        let mut table = Vec::new();
        crate::output::table(&profile, crate::output::By::Filter, 9, &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert!(
            table.lines().any(|line| line.starts_with(" 25.00%") && line.ends_with("filter first")),
            "{table}"
        );
    }

    /// The first opcodes of a function, which find its caller and its stack's end, have no place in the module.
    #[test]
    fn a_prologue_counts_for_the_first_line_of_its_own_function() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/shares_first.wasm");
        let bytes: Arc<[u8]> = std::fs::read(path).unwrap().into();
        let symbols = Symbols::new(Arc::clone(&bytes)).unwrap();
        let half = |function: &&Function| symbols.function_name(function.index).full.ends_with("half");
        let function = symbols.module().functions().iter().find(half).unwrap();
        let with_line = |at: &u32| symbols.frames(ModulePc(*at)).iter().all(|frame| frame.position.is_some());
        let first = (function.body.start.0..function.body.end.0).find(with_line).unwrap();
        let hash = ModuleHash::of(&bytes);
        let (id, kind) = (ObjectId(7), CodeKind::Function(function.index));
        let recording = Recording {
            objects: [(id.0, ObjectInfo::Wasm(WasmInfo { module: Some(hash), ..WasmInfo::default() }))]
                .into(),
            functions: [(id.0, vec![CompiledFunction { range: 0x10..0x40, kind, name: None }])].into(),
            address_maps: [(id.0, AddressMap::new(vec![(0x10, None), (0x18, Some(ModulePc(first)))]))].into(),
            modules: [(hash, bytes)].into(),
            frames: vec![RawFrame { object: id, address: 0x11 }],
            ..recording(&[&[0]])
        };
        let profile = Profile::new(&recording, Lines::Innermost);
        let expected = Coverage { wasm: 1, named: 1, line: 1, approximate: 1, caller: 0 };
        assert_eq!(profile.coverage, expected, "{:?}", paths(&profile));
        assert!(paths(&profile)[0].contains("half;~"), "{:?}", paths(&profile));
    }

    #[test]
    fn stacks_are_in_the_order_of_their_labels() {
        let long: Vec<u32> = (0..21).collect();
        let mut other = long.clone();
        for (at, value) in [(20, 7), (9, 3), (0, 1)] {
            other[at] = value;
            assert_eq!(compare(&long, &other), long.cmp(&other), "{other:?}");
            assert_eq!(compare(&other, &long), other.cmp(&long), "{other:?}");
        }
        for end in 0..long.len() {
            assert_eq!(compare(&long[..end], &long), Ordering::Less);
        }
        assert_eq!(compare(&long, &long), Ordering::Equal);
    }
}
