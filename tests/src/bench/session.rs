//! A debugger attached to the token filter, and the requests that its rule takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ats::Ats;
use crate::http::{Connection, PATIENCE, Request};
use crate::process;
use crate::wasmdbg::Wasmdbg;

/// The filter's source, relative to the repository.
const SOURCE: &str = "examples/rust-token/src/lib.rs";
/// Where it is stopped.
const LINE: &str = "let prime = is_prime(token);";
/// The header of the session's rule, and its value.
const RULE: (&str, &str) = ("x-bench", "stop");

/// An attached debugger with a breakpoint that is bound.
#[derive(Debug)]
pub struct Session {
    wasmdbg: Wasmdbg,
    /// From the start of the command to the bound breakpoint.
    pub attach_time: Duration,
}

impl Session {
    /// Attaches to the server's filter of this name with a breakpoint in the function that judges the
    /// token.
    ///
    /// # Errors
    /// When the debugger cannot attach, or the breakpoint is not bound.
    pub fn attach(server: &Ats, filter: &str) -> Result<Self> {
        let place = format!("break lib.rs:{}", breakpoint_line()?);
        let (pid, rule) = (server.pid().to_string(), format!("header:{}={}", RULE.0, RULE.1));
        let arguments = ["attach", &pid, "--batch", "--filter", filter, "--when", &rule, "--deadline", "5m"];
        let start = Instant::now();
        let mut wasmdbg = Wasmdbg::start(&[&arguments[..], &["-ex", &place]].concat())?;
        // Compiling a large module for debugging takes a while.
        wasmdbg.patience = Duration::from_secs(240);
        wasmdbg.expect("Breakpoint 1")?;
        Ok(Self { wasmdbg, attach_time: start.elapsed() })
    }

    /// Sends a request that stops, and returns its connection and the time from there until the stop
    /// and its source line are printed.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&mut self, server: &Ats, request: &Request) -> Result<(Connection, Duration)> {
        let mut connection = Connection::open(server.address(), PATIENCE)?;
        let request = request.clone().header(RULE.0, RULE.1);
        self.wasmdbg.send("continue")?;
        let start = Instant::now();
        connection.send(&request)?;
        self.wasmdbg.expect(LINE)?;
        Ok((connection, start.elapsed()))
    }

    /// Steps to the next line, and returns the time until it is printed.
    ///
    /// # Errors
    /// When the step does not come to its end.
    pub fn step_over(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.wasmdbg.ask("next", "lib.rs:")?;
        Ok(start.elapsed())
    }

    /// Lets the stopped request go on, detaches and waits for its answer.
    ///
    /// # Errors
    /// When the answer is not 200, or the debugger does not end well.
    pub fn detach(mut self, stopped: Option<Connection>) -> Result<()> {
        self.wasmdbg.send("detach")?;
        self.wasmdbg.close_input();
        if let Some(mut connection) = stopped {
            let response = connection.receive()?;
            ensure!(response.status == 200, "the stopped request got {}", response.status);
        }
        let status = self.wasmdbg.wait(PATIENCE)?;
        ensure!(status.success(), "wasmdbg ended with {status}:\n{}", self.wasmdbg.transcript());
        Ok(())
    }

    /// How the debugger says the debug lane came about: `compiled in 2.1s`, or `from the cache`.
    ///
    /// # Errors
    /// When it does not say.
    pub fn lane(&self) -> Result<String> {
        let text = self.wasmdbg.transcript();
        let told = text.split_once("can be debugged (").and_then(|(_, rest)| rest.split_once(')'));
        Ok(told.with_context(|| format!("nothing about the debug lane in:\n{text}"))?.0.to_string())
    }
}

/// The filter's source file.
#[must_use]
pub fn source() -> std::path::PathBuf {
    process::repository().join(SOURCE)
}

fn breakpoint_line() -> Result<usize> {
    let path = source();
    let text = read(&path)?;
    let index = text.lines().position(|line| line.trim() == LINE);
    Ok(index.with_context(|| format!("{} has no line {LINE:?}", path.display()))? + 1)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
