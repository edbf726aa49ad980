//! Code that other programs described, put into a recording: which piece lay at an address when a sample
//! was taken. Owns the rewriting of frames of unknown code; reads no file.

use std::collections::HashMap;

use super::{ObjectInfo, Recording};
use crate::code::timeline::Timeline;
use crate::target::space::{JIT, UNKNOWN};
use crate::unwind::RawFrame;

impl Recording {
    /// Resolves frames of unknown code by `timeline`, each at its sample's time. Frames that it does not
    /// know stay as they are. Without loads it changes nothing.
    pub fn describe(&mut self, timeline: &Timeline) {
        if timeline.loads().is_empty() {
            return;
        }
        let first = self.jit.len() as u64;
        self.add_code(timeline);
        let unknown: Vec<bool> = self.frames.iter().map(|frame| frame.object == UNKNOWN).collect();
        let mut old = Vec::new();
        let mut is_open = |index: u32| {
            self.stacks.get(index, &mut old);
            old.iter().any(|frame| unknown[*frame as usize])
        };
        let open: Vec<bool> = (0..self.stacks.len() as u32).map(&mut is_open).collect();
        let mut frames: HashMap<RawFrame, u32> = HashMap::new();
        let mut stacks: HashMap<(u32, Vec<u32>), u32> = HashMap::new();
        for sample in &mut self.samples {
            if !open[sample.stack as usize] {
                continue;
            }
            let end = self.stacks.get(sample.stack, &mut old);
            let resolve = |index: &u32| -> u32 {
                let frame = self.frames[*index as usize];
                if frame.object != UNKNOWN {
                    return *index;
                }
                let Some((code, offset)) = timeline.number_at(frame.address, sample.time) else {
                    return *index;
                };
                let address = (first + u64::from(code)) << 32 | offset & 0xffff_ffff;
                let next = self.frames.len() as u32;
                let new = RawFrame { object: JIT, address };
                let index = *frames.entry(new).or_insert(next);
                if index == next {
                    self.frames.push(new);
                }
                index
            };
            let key: Vec<u32> = old.iter().map(resolve).collect();
            if key == old {
                continue;
            }
            let new = stacks.entry((sample.stack, key));
            sample.stack = *new.or_insert_with_key(|(_, key)| self.stacks.push(key, end));
        }
    }

    /// Adds the code of `timeline` behind what is there, and finds filters among its names.
    pub(crate) fn add_code(&mut self, timeline: &Timeline) {
        self.objects.insert(JIT.0, ObjectInfo::Jit { source: "described code".into() });
        self.jit.extend_from_slice(timeline.codes());
        let filter = |name: &str| name.strip_suffix(": [wasmtime]").map(str::to_owned);
        self.jit_filters.extend(timeline.codes().iter().filter_map(|code| filter(&code.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::timeline::JitCode;
    use crate::recording::{SampleRow, Stacks};
    use crate::unwind::End;

    #[test]
    fn the_code_of_the_samples_time_counts() {
        let mut timeline = Timeline::default();
        let code = |name: &str| JitCode { name: name.into(), lines: Vec::new() };
        timeline.add(0x1000, 0x100, 10, None, code("old"));
        timeline.add(0x1000, 0x100, 20, None, code("new"));
        let unknown = |address| RawFrame { object: UNKNOWN, address };
        let sample = |time| SampleRow { time, tid: 1, stack: 0, weight: 1 };
        let mut stacks = Stacks::default();
        stacks.push(&[0, 1], End::NoTables);
        let mut recording = Recording {
            frames: vec![unknown(0x1010), unknown(0x9000)],
            stacks,
            samples: vec![sample(15), sample(25), sample(25), sample(5)],
            ..Recording::default()
        };
        recording.describe(&timeline);
        let names: Vec<Option<&str>> = recording
            .samples
            .iter()
            .map(|sample| {
                let mut frames = Vec::new();
                recording.stacks.get(sample.stack, &mut frames);
                assert_eq!(recording.frames[frames[1] as usize], unknown(0x9000), "nobody knows it");
                let frame = recording.frames[frames[0] as usize];
                (frame.object == JIT).then(|| recording.jit[(frame.address >> 32) as usize].name.as_str())
            })
            .collect();
        assert_eq!(names, [Some("old"), Some("new"), Some("new"), None]);
        assert_eq!(recording.stacks.len(), 3, "each stack is there once");
    }
}
