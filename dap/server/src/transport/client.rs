//! The client as the adapter talks to it: responses and events out, and what it said it can take.

use std::io::Write;

use crate::protocol::{
    Answer, Category, ErrorMessage, Event, InitializeArguments, Outgoing, OutgoingKind, OutputEvent,
    ResponseBody,
};
use crate::transport::framing;

/// The client's end: takes responses and events, and says how the client counts.
pub(crate) struct Client {
    output: Box<dyn Write + Send>,
    seq: i64,
    /// As it introduced itself.
    pub(crate) features: InitializeArguments,
    /// A write failed: it is gone.
    gone: bool,
}

impl Client {
    pub(crate) fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, seq: 0, features: InitializeArguments::default(), gone: false }
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, request_seq: i64, command: &str, result: &Answer) {
        let format = result.as_ref().err().map(|why| escaped(why)).unwrap_or_default();
        let (message, body) = match result {
            Ok(body) => (None, body.as_ref().map(ResponseBody::Done)),
            Err(why) => {
                let error = ErrorMessage { id: 1, format: &format };
                (Some(why.as_str()), Some(ResponseBody::Failed { error }))
            }
        };
        let success = result.is_ok();
        self.send(OutgoingKind::Response { request_seq, success, command, message, body });
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.send(OutgoingKind::Event { event });
    }

    /// A line for the console.
    pub(crate) fn say(&mut self, category: Category, text: &str) {
        let output = format!("{text}\n");
        self.event(&Event::Output(OutputEvent { category, output, source: None, line: None }));
    }

    fn send(&mut self, kind: OutgoingKind<'_>) {
        if self.gone {
            return;
        }
        self.seq += 1;
        let message = Outgoing { seq: self.seq, kind };
        let written = serde_json::to_vec(&message)
            .map_err(Into::into)
            .and_then(|body| framing::write(&mut self.output, &body));
        // The end of its input says the same and ends the adapter.
        self.gone = written.is_err();
    }

    /// A line as the client counts.
    pub(crate) fn line_out(&self, line: u32) -> i64 {
        i64::from(line) - i64::from(!self.features.lines_start_at1)
    }

    /// A line of the client, counted from 1; `None`: there is none such.
    pub(crate) fn line_in(&self, line: i64) -> Option<u32> {
        let line = line.checked_add(i64::from(!self.features.lines_start_at1))?;
        u32::try_from(line).ok().filter(|line| *line > 0)
    }

    /// A column as the client counts.
    pub(crate) fn column_out(&self, column: u32) -> i64 {
        i64::from(column) - i64::from(!self.features.columns_start_at1)
    }

    /// A column of the client, counted from 1.
    pub(crate) fn column_in(&self, column: i64) -> Option<u32> {
        let column = column.checked_add(i64::from(!self.features.columns_start_at1))?;
        u32::try_from(column).ok().filter(|column| *column > 0)
    }
}

/// Braces in `format` would be variables.
fn escaped(text: &str) -> String {
    text.replace('{', "(").replace('}', ")")
}
