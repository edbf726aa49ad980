//! Shows where the selected frame stands, and source lines.

use wasmdbg_session::{Frame, SourceLines};

use super::{Debugger, Listed};
use crate::show::frames::{frame_line, source_text};

impl Debugger {
    /// The selected frame: its line, and the source line when asked for.
    pub(crate) fn show_place(&mut self, with_source: bool) {
        let Some(selected) = self.selection.current().cloned() else { return };
        match selected.frame() {
            Ok(frame) => {
                let line = frame_line(&selected.stop, &frame, &self.console);
                self.console.say(&line);
                if with_source {
                    self.show_source_line(&frame);
                }
            }
            Err(error) => self.console.complain(&error.to_string()),
        }
    }

    fn show_source_line(&mut self, frame: &Frame) {
        let Some(position) = &frame.position else { return };
        // An absent file is no reason to say so at every step: `list` does.
        if let Ok(source) = self.session.sources().lines(&position.file, position.line, position.line) {
            let text = source_text(&source, None, &self.console);
            self.console.say(text.trim_end());
        }
    }

    /// Shows lines and remembers them for the next `list`.
    pub(crate) fn show_lines(&mut self, file: &str, source: &SourceLines) {
        let current = self.selection.line_in(file);
        let text = source_text(source, current, &self.console);
        self.console.say(text.trim_end_matches('\n'));
        let last = source.first + (source.lines.len() as u32).saturating_sub(1);
        self.selection.set_listed(Listed { file: file.to_owned(), first: source.first, last });
    }
}
