//! A client over pipes to an adapter on a thread of this process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wasmdbg_dap::{Proxies, Reach, ThisMachine, serve_with};

use crate::proxy::Proxy;

/// How long a test waits for what must come: debug lanes are compiled meanwhile, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much of its input the adapter is done with.
#[derive(Default)]
struct Taken {
    bytes: Mutex<u64>,
    more: Condvar,
}

/// An input that notes, whenever more is asked for, that all before has been worked on.
struct Counted {
    input: PipeReader,
    read: u64,
    taken: Arc<Taken>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        *self.taken.bytes.lock().expect("nobody panics with it") = self.read;
        self.taken.more.notify_all();
        let count = self.input.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

pub(crate) struct Client {
    output: PipeWriter,
    /// Bytes that went to the adapter.
    sent: u64,
    taken: Arc<Taken>,
    messages: Receiver<Value>,
    /// Came, and nobody has asked for it.
    waiting: VecDeque<Value>,
    seq: i64,
    /// What went each way, a line a message.
    transcript: String,
}

impl Client {
    /// A client that has introduced itself.
    pub(crate) fn new(reach: Reach, features: &Value) -> Self {
        Self::with(reach, features, Arc::new(ThisMachine))
    }

    /// One that can attach to a proxy in memory.
    pub(crate) fn of(proxy: &Proxy, features: &Value) -> Self {
        Self::with(Reach::AllFiles, features, Arc::new(proxy.clone()))
    }

    fn with(reach: Reach, features: &Value, proxies: Arc<dyn Proxies>) -> Self {
        let (input, output) = std::io::pipe().expect("a pipe");
        let (messages_in, messages_out) = std::io::pipe().expect("a pipe");
        let taken = Arc::<Taken>::default();
        let input = Counted { input, read: 0, taken: Arc::clone(&taken) };
        std::thread::spawn(move || serve_with(input, messages_out, reach, proxies));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(messages_in);
            while let Some(message) = read(&mut from) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut client = Self {
            output,
            sent: 0,
            taken,
            messages,
            waiting: VecDeque::new(),
            seq: 0,
            transcript: String::new(),
        };
        client.ask("initialize", features);
        client
    }

    /// The response to a request, whatever it says.
    pub(crate) fn respond(&mut self, command: &str, arguments: &Value) -> Value {
        let seq = self.send(command, arguments);
        self.response(seq)
    }

    /// The response to a request that was sent.
    pub(crate) fn response(&mut self, seq: i64) -> Value {
        self.message_where(|message| message["type"] == "response" && message["request_seq"] == seq)
    }

    pub(crate) fn send(&mut self, command: &str, arguments: &Value) -> i64 {
        self.seq += 1;
        let message =
            json!({ "seq": self.seq, "type": "request", "command": command, "arguments": arguments });
        self.note(&format!("-> {command} {}", in_order(arguments)));
        self.send_bytes(message.to_string().as_bytes());
        self.seq
    }

    pub(crate) fn send_bytes(&mut self, body: &[u8]) {
        self.send_raw(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.send_raw(body);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.output.write_all(bytes).expect("the adapter reads");
        self.sent += bytes.len() as u64;
    }

    /// Returns when the adapter's reader has taken all that was sent: it waits for more.
    pub(crate) fn settle(&self) {
        let bytes = self.taken.bytes.lock().expect("nobody panics with it");
        let waited = self.taken.more.wait_timeout_while(bytes, PATIENCE, |bytes| *bytes < self.sent);
        assert!(!waited.expect("nobody panics with it").1.timed_out(), "the reader does not come for more");
    }

    /// The body of a response that must be a success.
    pub(crate) fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let response = self.respond(command, arguments);
        assert_eq!(response["success"], true, "{command}: {response}");
        response["body"].clone()
    }

    /// The message of a response that must be a refusal.
    pub(crate) fn refused(&mut self, command: &str, arguments: &Value) -> String {
        let response = self.respond(command, arguments);
        assert_eq!(response["success"], false, "{command}: {response}");
        response["message"].as_str().expect("a message").to_owned()
    }

    /// The body of the next event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.event_where(name, |_| true)
    }

    /// The body of the next event of this name that fits.
    pub(crate) fn event_where(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let event = self.message_where(|message| message["event"] == name && fits(&message["body"]));
        event["body"].clone()
    }

    /// The next message that fits; others wait.
    fn message_where(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.waiting.iter().position(&fits) {
                return self.waiting.remove(at).expect("it is there");
            }
            let message = self.receive();
            self.waiting.push_back(message);
        }
    }

    fn receive(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE);
        let message =
            message.unwrap_or_else(|error| panic!("nothing came ({error}); waiting: {:?}", self.waiting));
        let line = match (message["type"] == "event", message["success"] == true) {
            (true, _) => format!("event {} {}", text(&message["event"]), in_order(&message["body"])),
            (_, true) => format!("{} {}", text(&message["command"]), in_order(&message["body"])),
            _ => format!("{} refused: {}", text(&message["command"]), text(&message["message"])),
        };
        self.note(&format!("<- {line}"));
        message
    }

    fn note(&mut self, line: &str) {
        let line = line.replace(&repository().display().to_string(), "REPOSITORY");
        self.transcript.push_str(line.trim_end());
        self.transcript.push('\n');
    }

    /// Nothing more comes: the adapter has ended.
    pub(crate) fn ended(&mut self) {
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(error) => return assert_eq!(error, RecvTimeoutError::Disconnected, "it still runs"),
            }
        }
    }

    /// The client goes without a word.
    pub(crate) fn hang_up(&mut self) {
        let (_, nowhere) = std::io::pipe().expect("a pipe");
        self.output = nowhere;
    }

    /// Compares all that went each way so far, from `initialize` on, with `tests/transcripts/NAME.txt`. With
    /// `WRITE_TRANSCRIPTS=1` in the environment it is written there instead, to be read and committed.
    pub(crate) fn assert_transcript(&self, name: &str) {
        let path = repository().join(format!("dap/server/tests/transcripts/{name}.txt"));
        if std::env::var_os("WRITE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &self.transcript).expect("the transcript");
        }
        let expected = std::fs::read_to_string(&path).expect("a transcript");
        for (line, (said, expected)) in (1..).zip(self.transcript.lines().zip(expected.lines())) {
            assert_eq!(said, expected, "{name}.txt, line {line}");
        }
        assert_eq!(self.transcript.lines().count(), expected.lines().count(), "{}", self.transcript);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// JSON with members by name, and nothing for nothing.
fn in_order(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name}: {}", in_order(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(in_order).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

fn read(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((_, value)) => length = value.parse().ok()?,
            None => break,
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// The fixture that holds values, stopped with all of them alive: the client, and its thread.
pub(crate) fn stopped_with_values(features: &Value) -> (Client, Value) {
    let folder = repository().join("tests/fixtures/values-rust");
    let scratch = Scratch::new();
    let requests = scratch.write("requests.http", "GET /\nseed: 70001\n");
    let mut client = Client::new(Reach::AllFiles, features);
    let arguments = json!({ "program": folder.join("values-rust.debug.wasm"), "requests": requests });
    client.ask("launch", &arguments);
    client.event("initialized");
    let source = folder.join("src/lib.rs");
    let line = line_of(&source, "// stop here") - i64::from(features["linesStartAt1"] == false);
    let set = json!({ "source": { "path": source }, "breakpoints": [{ "line": line }] });
    let set = client.ask("setBreakpoints", &set)["breakpoints"][0].clone();
    assert_eq!((&set["verified"], &set["line"]), (&json!(true), &json!(line)), "{set}");
    client.ask("configurationDone", &Value::Null);
    let thread = client.event("stopped")["threadId"].clone();
    (client, thread)
}

/// The innermost frame of a thread.
pub(crate) fn frame(client: &mut Client, thread: &Value) -> Value {
    client.ask("stackTrace", &json!({ "threadId": thread }))["stackFrames"][0].clone()
}

/// The number of the one line with `text`, from 1.
pub(crate) fn line_of(source: &Path, text: &str) -> i64 {
    let source = std::fs::read_to_string(source).expect("a source");
    let mut found = source.lines().zip(1..).filter(|(line, _)| line.contains(text));
    let line = found.next().expect("the line").1;
    assert!(found.next().is_none(), "several lines have `{text}`");
    line
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A folder of one test, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmdbg-dap-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
