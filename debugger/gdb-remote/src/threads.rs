//! Which stop LLDB sees, and which wait. Asks the proxy for the rest of a stop's frames; decides nothing
//! about how it goes on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroUsize;

use gdbstub::common::Tid;
use wasmdbg_control::client::CallError;
use wasmdbg_control::state::Value;
use wasmdbg_control::stop::{Frame, GetFrames, MAX_FRAMES, Stopped};
use wasmdbg_control::{Client, SlotId, StopId};

/// Frames in one request.
const FRAMES: u32 = 256;

/// The thread without frames that is there while nothing stands.
pub(crate) const PROXY: Tid = NonZeroUsize::MIN;

/// A stop with all its frames.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) stopped: Stopped,
    pub(crate) frames: Vec<Frame>,
    globals: RefCell<Option<Vec<Value>>>,
}

impl Standing {
    /// # Errors
    /// The stop is over, or the connection.
    pub(crate) fn new(client: &Client, mut stopped: Stopped) -> Result<Self, CallError> {
        let mut frames = std::mem::take(&mut stopped.frames);
        while (frames.len() as u32) < stopped.frame_count.min(MAX_FRAMES) {
            let request = GetFrames { stop: stopped.stop, first: frames.len() as u32, count: FRAMES };
            let more = client.call(request)?.frames;
            if more.is_empty() {
                break;
            }
            frames.extend(more);
        }
        Ok(Self { stopped, frames, globals: RefCell::default() })
    }

    /// A slot is a thread: it keeps its number from stop to stop.
    pub(crate) fn tid(&self) -> Tid {
        tid(self.stopped.slot)
    }

    pub(crate) fn global(&self, client: &Client, index: usize) -> Option<Value> {
        let mut globals = self.globals.borrow_mut();
        if globals.is_none() {
            *globals = client.globals(self.stopped.stop).ok();
        }
        globals.as_ref()?.get(index).cloned()
    }
}

fn tid(slot: SlotId) -> Tid {
    PROXY.saturating_add(slot.0 as usize + 1)
}

/// Stops that wait at once: each has its frames with it, up to a mebibyte.
const STOPS: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// What LLDB sees.
    pub(crate) current: Option<Standing>,
    waiting: VecDeque<Stopped>,
}

impl Threads {
    pub(crate) fn tid(&self) -> Tid {
        self.current.as_ref().map_or(PROXY, Standing::tid)
    }

    /// Of too many the oldest is forgotten: the proxy lets it go on at its deadline.
    pub(crate) fn add(&mut self, stopped: Stopped) {
        self.waiting.push_back(stopped);
        if self.waiting.len() > STOPS {
            self.waiting.pop_front();
        }
    }

    /// Takes the next one to show; with `slot` only one of it.
    pub(crate) fn next(&mut self, slot: Option<SlotId>) -> Option<Stopped> {
        let at = self.waiting.iter().position(|stopped| slot.is_none_or(|slot| stopped.slot == slot))?;
        self.waiting.remove(at)
    }

    /// A stop is over, whatever LLDB thinks.
    pub(crate) fn remove(&mut self, stop: StopId) {
        self.waiting.retain(|stopped| stopped.stop != stop);
        if self.current.as_ref().is_some_and(|standing| standing.stopped.stop == stop) {
            self.current = None;
        }
    }

    /// All that stand.
    pub(crate) fn drain(&mut self) -> Vec<StopId> {
        let current = self.current.take().map(|standing| standing.stopped.stop);
        current.into_iter().chain(self.waiting.drain(..).map(|stopped| stopped.stop)).collect()
    }
}
