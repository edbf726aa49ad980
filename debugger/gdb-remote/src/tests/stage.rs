//! An LLDB that speaks by hand to a server in front of a proxy in memory, and scripts that say what goes where.
//!
//! ```text
//! -> Z0,4000000000000030,1          LLDB sends a packet; its `$`, `#` and sum are added
//! .. set_breakpoints token 1@0x30   the proxy is asked
//! <- OK                             LLDB gets a packet; its sum is looked at, its runs are written out
//! -> ^C                             one byte without a packet around it; so with `+` and `-`
//! <- (end)                          the server has ended the connection
//! ```
//!
//! `{text}` in a line stands for the hex digits of the text.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Instant;

use super::proxy::{PATIENCE, Proxy, State};
use crate::ServeError;
use crate::connection::Stream;
use crate::serve::{Input, serve_clients};

impl Stream for UnixStream {
    fn try_clone(&self) -> std::io::Result<Self> {
        self.try_clone()
    }

    fn close(&self) {
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

/// `$text#sum`.
pub(super) fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

pub(super) struct Stage {
    pub(super) proxy: Proxy,
    lldb: UnixStream,
    inputs: SyncSender<Input<UnixStream>>,
    server: JoinHandle<Result<(), ServeError>>,
    /// All that was said.
    transcript: String,
}

impl Stage {
    /// LLDB is connected and acknowledges no packets any more.
    pub(super) fn new(change: impl FnOnce(&mut State)) -> Self {
        let mut stage = Self::silent(change);
        stage.greet();
        stage
    }

    /// LLDB is connected and has said nothing.
    pub(super) fn silent(change: impl FnOnce(&mut State)) -> Self {
        let (proxy, attached) = Proxy::attached(change);
        let (inputs, input) = mpsc::sync_channel(8);
        let sender = inputs.clone();
        let server = std::thread::spawn(move || serve_clients(attached, &sender, &input));
        let lldb = connect(&inputs);
        Self { proxy, lldb, inputs, server, transcript: String::new() }
    }

    /// Nothing after this is acknowledged.
    pub(super) fn greet(&mut self) {
        self.play(
            "
            -> QStartNoAckMode
            <- +
            <- OK
            -> +
        ",
        );
    }

    /// This LLDB goes and another one connects.
    pub(super) fn next_lldb(&mut self) {
        self.lldb = connect(&self.inputs);
    }

    /// Another LLDB connects while this one is there.
    pub(super) fn second_lldb(&self) -> UnixStream {
        connect(&self.inputs)
    }

    pub(super) fn hang_up(&self) {
        self.lldb.close();
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.lldb.write_all(bytes).expect("the server reads");
    }

    /// Does what the lines of `script` say and compares what comes with them.
    pub(super) fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (mark, text) = line.split_at(2);
            let text = in_hex(text.trim_start());
            let said = match mark {
                "->" => {
                    let more = self.proxy.untaken();
                    assert_eq!(more, None, "asked of the proxy before {line}, after\n{}", self.transcript);
                    let bytes = match text.as_str() {
                        "+" | "-" => text.clone(),
                        "^C" => "\x03".into(),
                        _ => packet(&text),
                    };
                    self.send(bytes.as_bytes());
                    text.clone()
                }
                "<-" => self.receive(),
                ".." if text == "activity" => self.proxy.any_where(|words| words == "activity"),
                ".." => self.proxy.next(),
                _ => panic!("no line of a script: {line}"),
            };
            assert_eq!(said, text, "instead of {line}, after\n{}", self.transcript);
            self.transcript.push_str(&format!("{mark} {said}\n"));
        }
    }

    /// Asks until the answer is this one: events and bytes come to the server by two ways.
    pub(super) fn wait_for(&mut self, question: &str, answer: &str) {
        let asked = Instant::now();
        while self.ask(question) != answer {
            assert!(asked.elapsed() < PATIENCE, "{question} is never {answer}, after\n{}", self.transcript);
        }
    }

    pub(super) fn ask(&mut self, question: &str) -> String {
        self.send(packet(question).as_bytes());
        self.receive()
    }

    /// What LLDB gets next: a packet's text, a byte outside packets, or `(end)`.
    pub(super) fn receive(&mut self) -> String {
        match self.byte() {
            None => "(end)".into(),
            Some(b'$') => self.packet(),
            Some(byte) => char::from(byte).to_string(),
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.lldb.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("LLDB gets nothing ({error}) after\n{}", self.transcript),
        }
    }

    fn packet(&mut self) -> String {
        let mut next = || self.byte().expect("a packet has an end");
        let (mut sum, mut text) = (0u8, String::new());
        loop {
            match next() {
                b'#' => break,
                // The byte before it once more, and so many times.
                b'*' => {
                    let count = next();
                    let last = text.chars().last().expect("a byte that is repeated");
                    text.extend(std::iter::repeat_n(last, usize::from(count - 29)));
                    sum = sum.wrapping_add(b'*').wrapping_add(count);
                }
                byte => {
                    text.push(char::from(byte));
                    sum = sum.wrapping_add(byte);
                }
            }
        }
        let digits = [next(), next()].map(char::from);
        assert_eq!(String::from_iter(digits), format!("{sum:02x}"), "the sum of {text}");
        text
    }

    /// The proxy's or the port's end: why the server has ended.
    pub(super) fn ended(self) -> String {
        drop(self.inputs);
        let served = self.server.join().expect("no panic");
        served.expect_err("it only ends with a reason").to_string()
    }
}

fn connect(inputs: &SyncSender<Input<UnixStream>>) -> UnixStream {
    let (lldb, server) = UnixStream::pair().expect("a socket pair");
    lldb.set_read_timeout(Some(PATIENCE)).expect("a limit");
    inputs.send(Input::Client(server)).expect("it serves");
    lldb
}

/// The text with each `{part}` as hex digits.
fn in_hex(text: &str) -> String {
    let mut parts = text.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (plain, rest) = part.split_once('}').expect("a closing brace");
        out.extend(plain.bytes().map(|byte| format!("{byte:02x}")));
        out.push_str(rest);
    }
    out
}
