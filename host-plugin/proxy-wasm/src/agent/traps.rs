//! Writes the deaths of guests to the host's log, with source lines. Here and not where they happened:
//! reading DWARF takes milliseconds.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use wasmdbg_control::text::cut;
use wasmdbg_control::{ModuleHash, ModulePc};

use crate::embedder::Level;
use crate::filter::runtime::Runtime;
use crate::vm::trap::{TrapFrame, TrapReport};

/// Says where a frame is, from the module's bytes: `is_prime at src/lib.rs:42`. `None`: the module does
/// not tell.
pub type Symbolise = Box<dyn FnMut(&Arc<[u8]>, &TrapFrame) -> Option<String> + Send>;

/// Places that are remembered: a filter that traps does so in few places, many times.
const REMEMBERED: usize = 1024;
/// Lines in one turn, so that clients are served in between.
const PER_TURN: usize = 32;
/// Characters of one report.
const LONGEST: usize = 8_000;

/// See the module.
pub(super) struct TrapLog {
    reports: Receiver<TrapReport>,
    symbolise: Symbolise,
    known: HashMap<(ModuleHash, u32, Option<ModulePc>), Option<String>>,
}

impl TrapLog {
    pub(super) fn new(reports: Receiver<TrapReport>, symbolise: Symbolise) -> Self {
        Self { reports, symbolise, known: HashMap::new() }
    }

    /// Writes what has come. `bytes` gives a module.
    pub(super) fn write(&mut self, runtime: &Runtime, bytes: impl Fn(ModuleHash) -> Option<Arc<[u8]>>) {
        for count in 1.. {
            let Ok(report) = self.reports.try_recv() else { break };
            let text = self.describe(&report, &bytes);
            runtime.log(Level::Error, &report.filter_name, report.transaction, &text);
            if count == PER_TURN {
                if let Some(bell) = runtime.bell.get() {
                    bell.wake();
                }
                break;
            }
        }
    }

    /// Of bounded length: names of functions are the filter's.
    fn describe(&mut self, report: &TrapReport, bytes: impl Fn(ModuleHash) -> Option<Arc<[u8]>>) -> String {
        let mut text = format!("{}: {}", report.callback, report.message);
        for (number, frame) in report.frames.iter().enumerate() {
            let _ = match self.place(frame, &bytes) {
                Some(place) => write!(text, "; #{number} {place}"),
                None => match frame.pc {
                    Some(pc) => write!(text, "; #{number} function {} at {pc}", frame.function),
                    None => write!(text, "; #{number} function {}", frame.function),
                },
            };
        }
        cut(&text, LONGEST).into_owned()
    }

    fn place(
        &mut self,
        frame: &TrapFrame,
        bytes: impl Fn(ModuleHash) -> Option<Arc<[u8]>>,
    ) -> Option<String> {
        let key = (frame.module, frame.function, frame.pc);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let place = (self.symbolise)(&bytes(frame.module)?, frame);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key, place.clone());
        place
    }
}
