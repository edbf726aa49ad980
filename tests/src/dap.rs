//! A client of `wasmdbg dap`: requests go in, responses and events are waited for. Every message from the
//! adapter is checked against the published types of the protocol.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::process;
use crate::schema::Schema;
use crate::scratch::{PATIENCE, wait_for};

/// A connected client; the adapter it started is killed when dropped.
pub struct Dap {
    child: Option<Child>,
    output: Option<Box<dyn Write + Send>>,
    messages: Receiver<Value>,
    events: VecDeque<Value>,
    responses: HashMap<i64, Value>,
    /// Commands by their `seq`, until they are answered.
    asked: HashMap<i64, String>,
    seq: i64,
    last_seq: i64,
}

impl Dap {
    /// Starts `wasmdbg dap` on pipes.
    ///
    /// # Errors
    /// When it is not built, or the protocol's schema is not to be had.
    pub fn start() -> Result<Self> {
        let mut child = Command::new(process::product("wasmdbg")?)
            .arg("dap")
            .current_dir(process::repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start wasmdbg")?;
        let input = child.stdout.take().context("no output")?;
        let output = child.stdin.take().context("no input")?;
        Self::over(Some(child), input, output)
    }

    /// Connects to a `wasmdbg dap --listen`.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        Self::over(None, stream.try_clone()?, stream)
    }

    fn over(
        child: Option<Child>,
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Result<Self> {
        schema()?;
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut input = BufReader::new(input);
            while let Some(message) = read(&mut input) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            output: Some(Box::new(output)),
            messages,
            events: VecDeque::new(),
            responses: HashMap::new(),
            asked: HashMap::new(),
            seq: 0,
            last_seq: 0,
        })
    }

    /// Sends a request; its `seq`.
    ///
    /// # Errors
    /// When the adapter does not read any more.
    pub fn send(&mut self, command: &str, arguments: &Value) -> Result<i64> {
        self.send_message(command, &json!({ "type": "request", "command": command, "arguments": arguments }))
    }

    /// Sends a message as it stands, with a `seq` added.
    ///
    /// # Errors
    /// When the adapter does not read any more.
    pub fn send_message(&mut self, command: &str, message: &Value) -> Result<i64> {
        self.seq += 1;
        let mut message = message.clone();
        message["seq"] = self.seq.into();
        self.asked.insert(self.seq, command.to_owned());
        self.send_bytes(message.to_string().as_bytes())?;
        Ok(self.seq)
    }

    /// Sends a body as it stands.
    ///
    /// # Errors
    /// When the adapter does not read any more.
    pub fn send_bytes(&mut self, body: &[u8]) -> Result<()> {
        let output = self.output.as_mut().context("the input is closed")?;
        write!(output, "Content-Length: {}\r\n\r\n", body.len())?;
        output.write_all(body)?;
        output.flush().context("the adapter does not read")
    }

    /// The response to request `seq`, whatever it says.
    ///
    /// # Errors
    /// When none comes, or a message breaks the protocol.
    pub fn response(&mut self, seq: i64) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(response) = self.responses.remove(&seq) {
                return Ok(response);
            }
            self.receive(end).with_context(|| format!("no response to request {seq}"))?;
        }
    }

    /// Asks and waits: the response's body, null when it has none.
    ///
    /// # Errors
    /// When the request fails.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let seq = self.send(command, arguments)?;
        let response = self.response(seq)?;
        ensure!(response["success"] == true, "{command} {arguments} failed: {}", response["message"]);
        Ok(response["body"].clone())
    }

    /// Asks and waits for a refusal: its message.
    ///
    /// # Errors
    /// When the request succeeds.
    pub fn refused(&mut self, command: &str, arguments: &Value) -> Result<String> {
        let seq = self.send(command, arguments)?;
        let response = self.response(seq)?;
        ensure!(response["success"] == false, "{command} {arguments} succeeded: {response}");
        Ok(response["message"].as_str().unwrap_or_default().to_owned())
    }

    /// The next event of this name whose body `fits`; earlier ones that do not stay for others.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn event_where(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.events.iter().position(|event| event["event"] == name && fits(&event["body"]));
            if let Some(event) = found.and_then(|at| self.events.remove(at)) {
                return Ok(event["body"].clone());
            }
            self.receive(end).with_context(|| format!("no `{name}`; there were {:?}", self.events))?;
        }
    }

    /// The next event of this name.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn event(&mut self, name: &str) -> Result<Value> {
        self.event_where(name, |_| true)
    }

    /// The next console output that contains `text`.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn output(&mut self, text: &str) -> Result<String> {
        let fits = |body: &Value| body["output"].as_str().is_some_and(|output| output.contains(text));
        let body = self.event_where("output", fits).with_context(|| format!("no output with {text:?}"))?;
        Ok(body["output"].as_str().unwrap_or_default().to_owned())
    }

    /// How many events of this name have come and were not taken.
    #[must_use]
    pub fn waiting(&self, name: &str) -> usize {
        self.events.iter().filter(|event| event["event"] == name).count()
    }

    /// The adapter's process.
    ///
    /// # Errors
    /// When this client started none.
    pub fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("no process of this client")
    }

    /// Closes the adapter's input, as an editor that is gone does.
    pub fn close(&mut self) {
        self.output = None;
    }

    /// Waits for the adapter's end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let child = self.child()?;
        wait_for("the end of wasmdbg dap", PATIENCE, || child.try_wait().ok().flatten())
    }

    fn receive(&mut self, end: Instant) -> Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        let message = self.messages.recv_timeout(left).map_err(|error| anyhow!("no message: {error}"))?;
        self.check(&message)?;
        if message["type"] == "event" {
            self.events.push_back(message);
        } else {
            self.responses.insert(message["request_seq"].as_i64().unwrap_or(0), message);
        }
        Ok(())
    }

    /// The message is what the protocol says, and answers what was asked.
    fn check(&mut self, message: &Value) -> Result<()> {
        let seq = message["seq"].as_i64().unwrap_or(0);
        ensure!(seq == self.last_seq + 1, "seq {seq} follows {}", self.last_seq);
        self.last_seq = seq;
        if message["type"] == "response" {
            let request = message["request_seq"].as_i64().unwrap_or(0);
            let Some(command) = self.asked.remove(&request) else { bail!("nobody asked for {message}") };
            ensure!(message["command"] == command.as_str(), "{command} was answered by {message}");
        }
        check(message)
    }
}

/// Whether a message of an adapter is what the published types say, and no more.
///
/// # Errors
/// What is wrong with it.
pub fn check(message: &Value) -> Result<()> {
    let name = match message["success"].as_bool() {
        None => definition(&message["event"], "Event"),
        Some(true) => definition(&message["command"], "Response"),
        Some(false) => "ErrorResponse".into(),
    };
    let schema = schema()?;
    // Our own requests are not in it.
    let name = if schema.has(&name) { name } else { "Response".into() };
    let problems = schema.problems(&name, message);
    ensure!(problems.is_empty(), "{name}: {}\n{message}", problems.join("; "));
    let empty = message.get("body").is_some_and(|body| body.is_null() || *body == json!({}));
    ensure!(!empty, "a body with nothing in it: {message}");
    Ok(())
}

impl Drop for Dap {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `stackTrace`, `Response`: `StackTraceResponse`.
fn definition(name: &Value, kind: &str) -> String {
    let name = name.as_str().unwrap_or_default();
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(kind.chars()).collect()
}

/// The published types, fetched once.
fn schema() -> Result<&'static Schema> {
    static SCHEMA: OnceLock<Result<Schema, String>> = OnceLock::new();
    let load = || -> Result<Schema> {
        let made = Command::new(process::repository().join("tests/setup/dap-schema/make.sh"))
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run make.sh")?;
        ensure!(made.status.success(), "tests/setup/dap-schema/make.sh failed");
        let path = String::from_utf8(made.stdout)?;
        Ok(Schema::new(serde_json::from_slice(&std::fs::read(path.trim())?)?))
    };
    SCHEMA
        .get_or_init(|| load().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

fn read(input: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("Content-Length: ")?.parse().ok()?;
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
