//! A debugger attached to the token filter, and the requests that its rule takes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ats::Ats;
use crate::http::{Connection, Request};
use crate::process;
use crate::scratch::PATIENCE;
use crate::wasmdbg::Wasmdbg;

/// The filter's source, relative to the repository.
const SOURCE: &str = "examples/rust-token/src/lib.rs";
/// Where it is stopped.
const LINE: &str = "let prime = is_prime(token);";
/// The header of the session's rule, and its value.
const RULE: (&str, &str) = ("x-bench", "stop");

/// Where the debug lane of an attach came from, with the milliseconds that took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lane {
    /// The module was compiled.
    Compiled(f64),
    /// The disk cache had it.
    Cached(f64),
}

impl Lane {
    /// `compiled in 1.2s`, `from the cache in 12ms`
    fn parse(told: &str) -> Option<Self> {
        let (how, time) = told.rsplit_once(' ')?;
        let time = match time.strip_suffix("ms") {
            Some(milliseconds) => milliseconds.parse().ok()?,
            None => time.strip_suffix('s')?.parse::<f64>().ok()? * 1000.0,
        };
        match how {
            "compiled in" => Some(Self::Compiled(time)),
            "from the cache in" => Some(Self::Cached(time)),
            _ => None,
        }
    }
}

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

    /// How the debug lane came about, and how long that took.
    ///
    /// # Errors
    /// When the debugger does not say.
    pub fn lane(&self) -> Result<Lane> {
        let text = self.wasmdbg.transcript();
        let told = text.split_once("can be debugged (").and_then(|(_, rest)| rest.split_once(')'));
        let lane = told.and_then(|(told, _)| Lane::parse(told));
        lane.with_context(|| format!("nothing about the debug lane in:\n{text}"))
    }
}

/// The filter's source file.
#[must_use]
pub fn source() -> std::path::PathBuf {
    process::repository().join(SOURCE)
}

/// The line of the example's source where it is stopped.
///
/// # Errors
/// When the source has no such line any more.
pub fn breakpoint_line() -> Result<usize> {
    let path = source();
    let text = read(&path)?;
    let index = text.lines().position(|line| line.trim() == LINE);
    Ok(index.with_context(|| format!("{} has no line {LINE:?}", path.display()))? + 1)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::Lane;

    #[test]
    fn what_attach_says_of_the_lane_is_read() {
        assert_eq!(Lane::parse("compiled in 1.5s"), Some(Lane::Compiled(1500.0)));
        assert_eq!(Lane::parse("from the cache in 12ms"), Some(Lane::Cached(12.0)));
        assert_eq!(Lane::parse("made in 2ms"), None);
    }
}
