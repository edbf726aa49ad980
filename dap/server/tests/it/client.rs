//! A client over pipes to an adapter on a thread of this process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};
use wasmdbg_dap::{Reach, serve};

/// How long a test waits for what must come: debug lanes are compiled meanwhile, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Client {
    output: PipeWriter,
    messages: Receiver<Value>,
    events: VecDeque<Value>,
    seq: i64,
}

impl Client {
    /// A client that has introduced itself.
    pub(crate) fn new(reach: Reach, features: &Value) -> Self {
        let (input, output) = std::io::pipe().expect("a pipe");
        let (messages_in, messages_out) = std::io::pipe().expect("a pipe");
        std::thread::spawn(move || serve(input, messages_out, reach));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(messages_in);
            while let Some(message) = read(&mut from) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut client = Self { output, messages, events: VecDeque::new(), seq: 0 };
        client.ask("initialize", features);
        client
    }

    /// The response to a request, whatever it says.
    pub(crate) fn respond(&mut self, command: &str, arguments: &Value) -> Value {
        let seq = self.send(command, arguments);
        loop {
            let message = self.receive();
            if message["type"] == "response" && message["request_seq"] == seq {
                return message;
            }
            self.keep(message);
        }
    }

    pub(crate) fn send(&mut self, command: &str, arguments: &Value) -> i64 {
        self.seq += 1;
        let message =
            json!({ "seq": self.seq, "type": "request", "command": command, "arguments": arguments });
        self.send_bytes(message.to_string().as_bytes());
        self.seq
    }

    pub(crate) fn send_bytes(&mut self, body: &[u8]) {
        write!(self.output, "Content-Length: {}\r\n\r\n", body.len()).expect("the adapter reads");
        self.output.write_all(body).expect("the adapter reads");
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
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
                return self.events.remove(at).expect("it is there")["body"].clone();
            }
            let message = self.receive();
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Value) {
        if message["type"] == "event" {
            self.events.push_back(message);
        }
    }

    fn receive(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE);
        message.unwrap_or_else(|error| panic!("nothing came ({error}); events: {:?}", self.events))
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
