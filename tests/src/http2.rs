//! Several requests at once on one HTTP/2 connection over TLS, by curl.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::text::Transcript;

/// Requests to send together.
#[derive(Debug)]
pub struct Streams {
    base: String,
    arguments: Vec<String>,
}

/// A stream that has its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The whole address asked for.
    pub url: String,
    /// The status code; 0 when the stream failed.
    pub status: u16,
    /// The protocol, `2` for HTTP/2.
    pub version: String,
    /// Connections made for it: one for the first stream of a connection, none for the others.
    pub connects: u32,
}

/// Streams under way; ended when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: Transcript,
}

impl Streams {
    /// To `base`, such as `https://127.0.0.1:8443`; its certificate is not checked.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self { base: base.into(), arguments: Vec::new() }
    }

    /// One more GET.
    pub fn add(&mut self, path: &str, headers: &[(&str, &str)]) {
        if !self.arguments.is_empty() {
            self.arguments.push("--next".into());
        }
        // The options of one request only, each anew behind `--next`.
        // Standard error, because curl keeps standard output back until it ends.
        let format = "%{stderr}%{url_effective} %{http_code} %{http_version} %{num_connects}\\n";
        for option in ["-s", "-k", "--http2", "-o", "/dev/null", "-w", format] {
            self.arguments.push(option.into());
        }
        for (name, value) in headers {
            self.arguments.extend(["-H".into(), format!("{name}: {value}")]);
        }
        self.arguments.push(format!("{}{path}", self.base));
    }

    /// Sends them all.
    ///
    /// # Errors
    /// When there is no curl.
    pub fn start(self) -> Result<Running> {
        let mut child = Command::new("curl")
            .args(["--no-progress-meter", "--parallel", "--parallel-max", "100"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run curl: `tests/setup/install.sh test` installs it")?;
        let output = Transcript::default();
        if let Some(pipe) = child.stderr.take() {
            output.also_follow(pipe);
        }
        Ok(Running { child, output })
    }
}

impl Running {
    /// Waits until this many streams are finished, and returns them in the order of their ends.
    ///
    /// # Errors
    /// When they do not finish within `limit`.
    pub fn wait_for(&mut self, count: usize, limit: Duration) -> Result<Vec<Finished>> {
        self.output.wait(&format!("{count} finished streams"), 0, limit, |text| {
            let finished: Vec<Finished> = text.lines().filter_map(parse).collect();
            (finished.len() >= count).then_some(finished)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Finished> {
    let mut words = line.split(' ');
    let url = words.next()?.to_string();
    let status = words.next()?.parse().ok()?;
    let version = words.next()?.to_string();
    let connects = words.next()?.parse().ok()?;
    Some(Finished { url, status, version, connects })
}
