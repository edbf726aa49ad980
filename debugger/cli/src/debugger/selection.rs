//! What is looked at: a stop, one of its frames, and the lines that `list` goes on from.

use std::sync::Arc;

use wasmdbg_control::StopId;
use wasmdbg_session::{Frame, Stop};

use crate::failure::{Failure, fail};

/// The stop that is looked at.
#[derive(Clone)]
pub(crate) struct Selected {
    pub(crate) stop: Arc<Stop>,
    pub(crate) frame: u32,
}

impl Selected {
    /// The frame that is looked at.
    pub(crate) fn frame(&self) -> Result<Frame, Failure> {
        Ok(self.stop.frame(self.frame)?)
    }
}

/// What `list` shows next.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) file: String,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// What commands without a further word are about.
#[derive(Default)]
pub(crate) struct Selection {
    selected: Option<Selected>,
    listed: Option<Listed>,
}

impl Selection {
    /// The stop that is looked at; without one most commands can do nothing.
    pub(crate) fn get(&self) -> Result<&Selected, Failure> {
        let Some(selected) = &self.selected else {
            fail!(
                "nothing is stopped: `continue` waits for the next stop, `transactions` lists what is there"
            )
        };
        Ok(selected)
    }

    /// The same, if there is one.
    pub(crate) fn current(&self) -> Option<&Selected> {
        self.selected.as_ref()
    }

    /// Whether this stop is looked at.
    pub(crate) fn is(&self, stop: StopId) -> bool {
        self.current().is_some_and(|selected| selected.stop.id() == stop)
    }

    /// Looks at the innermost frame of a stop from now on.
    pub(crate) fn look_at(&mut self, stop: Arc<Stop>) {
        *self = Self { selected: Some(Selected { stop, frame: 0 }), listed: None };
    }

    /// Looks at another frame of the stop.
    pub(crate) fn look_at_frame(&mut self, frame: u32) -> Result<(), Failure> {
        // Before anything is changed: there may be no such frame.
        self.get()?.stop.frame(frame)?;
        if let Some(selected) = &mut self.selected {
            selected.frame = frame;
        }
        self.listed = None;
        Ok(())
    }

    /// Looks at nothing.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The lines that were shown last, if any were since the frame was selected.
    pub(crate) fn listed(&self) -> Option<&Listed> {
        self.listed.as_ref()
    }

    /// Lines were shown.
    pub(crate) fn set_listed(&mut self, listed: Listed) {
        self.listed = Some(listed);
    }

    /// The file that a bare line number means.
    pub(crate) fn file(&self) -> Result<String, Failure> {
        if let Some(listed) = &self.listed {
            return Ok(listed.file.clone());
        }
        let Some(selected) = &self.selected else {
            fail!("a line by itself means the selected frame's file, and nothing is stopped: give FILE:LINE");
        };
        match selected.frame()?.position {
            Some(position) => Ok(position.file),
            None => fail!("the selected frame has no source file: give FILE:LINE"),
        }
    }

    /// The line of the selected frame, if it is in `file`.
    pub(crate) fn line_in(&self, file: &str) -> Option<u32> {
        let position = self.current()?.frame().ok()?.position?;
        (position.file == file).then_some(position.line)
    }
}
