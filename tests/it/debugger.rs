//! A debugger attached to a server, and requests that go to its debug lane.

use std::time::Duration;

use anyhow::Result;
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::http::{Pending, Request};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::scratch::PATIENCE;
use wasmdbg_tests::wasmdbg::Wasmdbg;

/// The header that the tests' rules ask for.
pub(crate) const HEADER: &str = "x-debug";

/// A `wasmdbg attach … --batch` that reads its commands from the test.
pub(crate) struct Debugger {
    pub(crate) wasmdbg: Wasmdbg,
    token: String,
}

impl Debugger {
    /// Attaches to one filter of a server by a header rule; returns when the debug lane is ready.
    pub(crate) fn attach(ats: &Ats, filter: &str, further: &[&str]) -> Result<Self> {
        // The rule's value: two tests never share one.
        let token = random().to_string();
        let (pid, rule) = (ats.pid().to_string(), format!("header:{HEADER}={token}"));
        let mut arguments = vec!["attach", &pid, "--batch", "--filter", filter, "--when", &rule];
        arguments.extend(further);
        let mut wasmdbg = Wasmdbg::start(&arguments)?;
        // The compilation for debugging gives way to everything else on the machine.
        wasmdbg.patience = 3 * PATIENCE;
        // Its own words: the filter's name is in what the attach says, before breakpoints stand.
        wasmdbg.ask("info filters", "debug info")?;
        Ok(Self { wasmdbg, token })
    }

    /// A request that matches the session's rule.
    pub(crate) fn request(&self, path: &str) -> Request {
        Request::get(path).header(HEADER, &self.token)
    }

    /// Sends a request that is expected to stop, and waits for the stop.
    pub(crate) fn stop(&mut self, ats: &Ats, request: Request) -> Result<Pending> {
        let pending = Pending::start(ats.address(), request, Duration::from_secs(200));
        self.ask("continue", STOPPED)?;
        Ok(pending)
    }

    pub(crate) fn ask(&mut self, command: &str, expected: &str) -> Result<String> {
        self.wasmdbg.ask(command, expected)
    }

    /// What `print NAME` says behind the equals sign.
    pub(crate) fn print(&mut self, name: &str) -> Result<String> {
        self.wasmdbg.send(&format!("print {name}"))?;
        let answer = format!("{name} = ");
        loop {
            let text = self.wasmdbg.expect(&answer)?;
            // The source line of a stop can hold the same text, but does not begin with it.
            if let Some(value) = text.lines().last().and_then(|line| line.strip_prefix(&answer)) {
                return Ok(value.trim().to_string());
            }
        }
    }
}

/// How a stop at a breakpoint is announced.
pub(crate) const STOPPED: &str = "breakpoint";

/// A number that no other run has.
pub(crate) fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() as u32
}

/// The line of a source file of the repository that contains `text`, from 1.
pub(crate) fn line_of(file: &str, text: &str) -> usize {
    let content = std::fs::read_to_string(repository().join(file)).unwrap_or_default();
    content.lines().position(|line| line.contains(text)).map_or(0, |index| index + 1)
}
