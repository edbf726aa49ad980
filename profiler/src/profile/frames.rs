//! Frames of a recording as numbers of labels. Each is resolved once, whatever number of stacks it is in.

use super::Lines;
use super::label::Labels;
use super::resolve::{Resolved, Resolver};
use crate::recording::Recording;

/// All frames of a recording.
#[derive(Debug)]
pub(super) struct Frames {
    list: Vec<Frame>,
    functions: Vec<u32>,
    /// Of each function the line where it stands, where these were asked for.
    lines: Vec<Option<u32>>,
}

/// A frame as far as folding needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// What it is.
    pub(super) of: Resolved,
    /// The innermost of its functions that has a line.
    pub(super) line: Option<FrameLine>,
    /// Its functions, in [`Frames::functions`].
    functions: (u32, u32),
}

/// A line in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameLine {
    /// The number of its name.
    pub(super) label: u32,
    /// Of which of the frame's functions.
    pub(super) function: u32,
    /// See [`super::Place::approximate`].
    pub(super) approximate: bool,
    /// Whether a function without a line is inlined there.
    pub(super) caller: bool,
}

impl Frames {
    /// Resolves them. `every_line`: see [`Frames::lines`].
    pub(super) fn new(recording: &Recording, lines: Lines, every_line: bool, labels: &mut Labels) -> Self {
        let mut resolver = Resolver::new(recording);
        let (mut found, mut functions, mut every) = (Vec::new(), Vec::new(), Vec::new());
        let frame = |index| {
            found.clear();
            let of = resolver.frame(index, labels, &mut found);
            let start = functions.len() as u32;
            functions.extend(found.iter().map(|(function, place)| match (lines, place) {
                (Lines::All, Some(place)) => labels.function_at(*function, place),
                _ => *function,
            }));
            if every_line {
                every.extend(found.iter().map(|(_, place)| Some(labels.place(place.as_ref()?))));
            }
            let with_line = found.iter().rposition(|(_, place)| place.is_some());
            let line = with_line.and_then(|at| Some((at, found[at].1.as_ref()?)));
            let line = line.map(|(at, place)| FrameLine {
                label: labels.place(place),
                function: at as u32,
                approximate: place.approximate,
                caller: at + 1 < found.len(),
            });
            Frame { of, line, functions: (start, functions.len() as u32) }
        };
        let list = (0..recording.frames.len() as u32).map(frame).collect();
        Self { list, functions, lines: every }
    }

    /// A frame by its index.
    pub(super) fn get(&self, index: u32) -> &Frame {
        &self.list[index as usize]
    }

    /// A frame's functions, outermost first: the function itself, then what is inlined.
    pub(super) fn functions(&self, frame: &Frame) -> &[u32] {
        &self.functions[frame.functions.0 as usize..frame.functions.1 as usize]
    }

    /// As [`Frames::functions`], the line of each; nothing when they were not asked for.
    pub(super) fn lines(&self, frame: &Frame) -> &[Option<u32>] {
        self.lines.get(frame.functions.0 as usize..frame.functions.1 as usize).unwrap_or_default()
    }
}
