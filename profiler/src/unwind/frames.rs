//! Distinct frames, numbered in the order in which they were first seen.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::RawFrame;

/// See the module.
#[derive(Debug, Default)]
pub struct Frames {
    numbers: HashMap<RawFrame, u32, FxBuildHasher>,
    list: Vec<RawFrame>,
}

impl Frames {
    /// The number of a frame, a new one if it has none.
    pub fn number(&mut self, frame: RawFrame) -> u32 {
        *self.numbers.entry(frame).or_insert_with(|| {
            self.list.push(frame);
            self.list.len() as u32 - 1
        })
    }

    /// All of them, by their numbers.
    #[must_use]
    pub fn list(&self) -> &[RawFrame] {
        &self.list
    }

    /// As [`Frames::list`].
    #[must_use]
    pub fn into_list(self) -> Vec<RawFrame> {
        self.list
    }
}
