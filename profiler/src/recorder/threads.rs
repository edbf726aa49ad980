//! The names of the target's threads.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::recording::Writer;
use crate::target::Target;

/// Threads by their numbers.
#[derive(Default)]
pub(super) struct Threads {
    names: HashMap<u32, String>,
    /// Names that are not in the file yet.
    new: Vec<(u32, String)>,
}

impl Threads {
    /// A thread has been given a name.
    pub(super) fn name(&mut self, tid: u32, name: String) {
        if self.names.get(&tid) != Some(&name) {
            self.names.insert(tid, name.clone());
            self.new.push((tid, name));
        }
    }

    /// A thread was sampled: asks for its name if it has none yet.
    pub(super) fn see(&mut self, tid: u32, target: &Target) {
        if !self.names.contains_key(&tid) {
            self.name(tid, target.thread_name(tid).unwrap_or_else(|| format!("thread {tid}")));
        }
    }

    pub(super) fn write<W: Write>(&mut self, writer: &mut Writer<W>) -> io::Result<()> {
        for (tid, name) in std::mem::take(&mut self.new) {
            writer.thread(tid, &name)?;
        }
        Ok(())
    }
}
