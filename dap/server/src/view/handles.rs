//! What numbers mean to the client: frames, scopes and values. They are valid until their thread goes on;
//! an old number is never given to something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmdbg_control::{SlotId, StopId};
use wasmdbg_session::{ScopeKind, Stop, Value};

/// What a number means.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    /// A frame.
    Frame(u32),
    /// A scope of a frame.
    Scope(u32, ScopeKind),
    /// A value with children, and the expression for it.
    Value {
        /// In which frame.
        frame: u32,
        /// The value.
        value: Value,
        /// `None`: no expression leads to it.
        expression: Option<String>,
    },
}

/// The numbers in use.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    given: BTreeMap<i64, (Arc<Stop>, Handle)>,
    last: i64,
}

impl Handles {
    pub(crate) fn give(&mut self, stop: &Arc<Stop>, handle: Handle) -> i64 {
        self.last += 1;
        self.given.insert(self.last, (Arc::clone(stop), handle));
        self.last
    }

    /// A frame or scope has one number as long as it is valid: clients tell by it whether it is the same.
    pub(crate) fn give_once(&mut self, stop: &Arc<Stop>, handle: Handle) -> i64 {
        let same = |known: &Handle| match (known, &handle) {
            (Handle::Frame(a), Handle::Frame(b)) => a == b,
            (Handle::Scope(a, kind), Handle::Scope(b, other)) => a == b && kind == other,
            _ => false,
        };
        let known = self.given.iter().find(|(_, (of, known))| Arc::ptr_eq(of, stop) && same(known));
        match known {
            Some((id, _)) => *id,
            None => self.give(stop, handle),
        }
    }

    /// No number means anything any more.
    pub(crate) fn clear(&mut self) {
        self.given.clear();
    }

    pub(crate) fn get(&self, id: i64) -> Result<(Arc<Stop>, Handle), String> {
        let known = self.given.get(&id).cloned();
        known.ok_or_else(|| "this belongs to a stop that is over".into())
    }

    pub(crate) fn frame(&self, id: i64) -> Result<(Arc<Stop>, u32), String> {
        match self.get(id)? {
            (stop, Handle::Frame(frame)) => Ok((stop, frame)),
            _ => Err(format!("{id} is no frame")),
        }
    }

    /// A stop is over.
    pub(crate) fn drop_stop(&mut self, stop: StopId) {
        self.given.retain(|_, (of, _)| of.id() != stop);
    }

    /// A slot goes on.
    pub(crate) fn drop_slot(&mut self, slot: SlotId) {
        self.given.retain(|_, (of, _)| of.info().slot != slot);
    }

    /// Memory of a stop was written: its values are read anew.
    pub(crate) fn refresh(&mut self, stop: StopId) {
        for (of, handle) in self.given.values_mut() {
            if let Handle::Value { value, .. } = handle
                && of.id() == stop
            {
                *value = value.refreshed();
            }
        }
    }
}
