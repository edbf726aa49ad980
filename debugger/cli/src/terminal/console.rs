//! Everything that is written to the terminal: colours when it is one, text of strangers made harmless,
//! and lines that arrive while the user types put above the prompt.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;

use rustyline::ExternalPrinter;

/// What a piece of text is, for its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    /// A function's name.
    Function,
    /// A file or its line number.
    Place,
    /// A variable's name.
    Name,
    /// A type's name, a remark.
    Faint,
    /// The line that runs next, a stop.
    Strong,
    /// An error.
    Error,
    /// A warning.
    Warning,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Function => "33",
            Self::Place => "32",
            Self::Name => "36",
            Self::Faint => "2",
            Self::Strong => "1",
            Self::Error => "31",
            Self::Warning => "35",
        }
    }
}

/// The prompt.
pub(crate) const PROMPT: &str = "(wasmdbg) ";

/// Where the prompt is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompting {
    /// Not shown.
    No,
    /// The line editor shows it and puts other lines above it.
    Editor,
    /// Written by us, at the end of the output.
    Plain,
}

/// The terminal.
pub(crate) struct Console {
    colours: bool,
    /// Puts lines above the prompt while the user types.
    printer: Option<mpsc::Sender<String>>,
    prompting: Prompting,
}

impl Console {
    /// Colours when standard output is a terminal and the environment has nothing against it
    /// (`NO_COLOR`, `TERM=dumb`).
    pub(crate) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: io::stdout().is_terminal() && !plain, printer: None, prompting: Prompting::No }
    }

    /// Whether colours are on.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// Where lines go while the line editor shows its prompt. On a thread of its own: when the editor is
    /// about to return a line it takes nothing more, and printing waits for the next prompt.
    pub(crate) fn set_printer(&mut self, mut printer: Box<dyn ExternalPrinter + Send>) -> io::Result<()> {
        let (sender, lines) = mpsc::channel();
        let print = move || {
            for line in lines {
                if printer.print(line).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("wasmdbg-print".into()).spawn(print)?;
        self.printer = Some(sender);
        Ok(())
    }

    /// The line editor shows its prompt from now on.
    pub(crate) fn editor_prompts(&mut self) {
        self.prompting = Prompting::Editor;
    }

    /// Writes the prompt, unless it stands at the end of the output already.
    pub(crate) fn prompt(&mut self) {
        if self.prompting != Prompting::Plain {
            self.prompting = Prompting::Plain;
            let mut out = io::stdout().lock();
            let _ = write!(out, "{PROMPT}").and_then(|()| out.flush());
        }
    }

    /// A line has been read: the prompt is history.
    pub(crate) fn end_prompt(&mut self) {
        self.prompting = Prompting::No;
    }

    /// `text` in its colour, made harmless.
    pub(crate) fn paint(&self, paint: Paint, text: &str) -> String {
        let text = harmless(text);
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.into_owned() }
    }

    /// Writes a line (or several) of answers.
    pub(crate) fn say(&mut self, text: &str) {
        if self.prompting == Prompting::Editor
            && let Some(printer) = &self.printer
            && printer.send(format!("{text}\n")).is_ok()
        {
            return;
        }
        let start = self.leave_prompt();
        // A reader that is gone (`wasmdbg … | head`) is no reason to leave without detaching.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{start}{text}").and_then(|()| out.flush());
    }

    /// Writes a remark, where it belongs among the answers.
    pub(crate) fn note(&mut self, text: &str) {
        let text = self.paint(Paint::Warning, &format!("note: {text}"));
        self.say(&text);
    }

    /// Writes an error to standard error.
    pub(crate) fn complain(&mut self, text: &str) {
        self.complain_as(Paint::Error, &format!("error: {}", harmless(text)));
    }

    /// Where to read on, after an error in the command line.
    pub(crate) fn complain_usage(&mut self) {
        let _ = writeln!(io::stderr(), "`wasmdbg --help` lists commands and options");
    }

    fn complain_as(&mut self, paint: Paint, text: &str) {
        if self.prompting == Prompting::Editor {
            let painted = self.paint(paint, text);
            self.say(&painted);
        } else {
            let start = self.leave_prompt();
            let colours = self.colours && io::stderr().is_terminal();
            let painted = if colours { self.paint(paint, text) } else { text.to_owned() };
            let _ = writeln!(io::stderr(), "{start}{painted}");
        }
    }

    /// The line end that a prompt of ours needs before anything else is written.
    fn leave_prompt(&mut self) -> &'static str {
        match self.prompting {
            Prompting::Plain => {
                self.prompting = Prompting::No;
                "\n"
            }
            _ => "",
        }
    }
}

/// A line on standard error of what has no prompt: a server, a thread. A reader that is gone is no reason to
/// end, as it would be for `eprintln!`.
pub(crate) fn log(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text of the proxy, of a request or of a filter with its control characters shown and not obeyed:
/// nobody's request path moves the cursor. Tabs and line ends stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\t' && c != '\n';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(harmless("/a\x1b[2Jb\r\u{9b}c"), "/a\\u{1b}[2Jb\\r\\u{9b}c");
        assert!(matches!(harmless("plain\ttext\n"), Cow::Borrowed(_)));
    }
}
