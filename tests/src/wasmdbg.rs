//! A driver for the `wasmdbg` binary: commands go in by a pipe, output is waited for.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::process;
use crate::scratch::{PATIENCE, wait_for};
use crate::text::Transcript;

/// Runs `wasmdbg` to its end with these arguments and an empty standard input.
///
/// # Errors
/// When it is not built.
pub fn run(arguments: &[&str]) -> Result<Output> {
    command(arguments)?.stdin(Stdio::null()).output().context("cannot run wasmdbg")
}

/// The same in another working folder: from elsewhere the sources are not found.
///
/// # Errors
/// When it is not built.
pub fn run_in(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = command(arguments)?;
    command.current_dir(folder).stdin(Stdio::null()).output().context("cannot run wasmdbg")
}

fn command(arguments: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut command = Command::new(process::product("wasmdbg")?);
    // Sources are named relative to the repository in the examples' debug info.
    command.args(arguments).current_dir(process::repository());
    Ok(command)
}

/// A running `wasmdbg` that reads its commands from a pipe; killed when dropped.
#[derive(Debug)]
pub struct Wasmdbg {
    child: Child,
    input: Option<ChildStdin>,
    output: Transcript,
    cursor: usize,
    /// How long [`Wasmdbg::expect`] waits.
    pub patience: Duration,
}

impl Wasmdbg {
    /// Starts it with these arguments.
    ///
    /// # Errors
    /// When it is not built.
    pub fn start(arguments: &[impl AsRef<OsStr>]) -> Result<Self> {
        let mut child = command(arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start wasmdbg")?;
        let output = Transcript::default();
        if let Some(pipe) = child.stdout.take() {
            output.also_follow(pipe);
        }
        if let Some(pipe) = child.stderr.take() {
            output.also_follow(pipe);
        }
        let input = child.stdin.take();
        Ok(Self { child, input, output, cursor: 0, patience: PATIENCE })
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    ///
    /// # Errors
    /// When it has ended or its input was closed.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the debugger's input is closed")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).with_context(|| {
            format!("the debugger does not read {line:?} any more; it said:\n{}", self.output.all())
        })
    }

    /// Waits for `text` behind the last match and returns everything up to its line's end.
    ///
    /// # Errors
    /// When it does not come in time; the error quotes what came instead.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let found = self.output.wait(&format!("{text:?}"), self.cursor, self.patience, |tail| {
            let start = tail.find(text)?;
            // A whole line, so that what follows the text in it can be read.
            let length = tail[start..].find('\n').map(|end| start + end + 1)?;
            Some(tail[..length].to_string())
        })?;
        self.cursor += found.len();
        Ok(found)
    }

    /// Waits for `text` behind the last match and returns everything before it.
    ///
    /// # Errors
    /// When it does not come in time; the error quotes what came instead.
    pub fn until(&mut self, text: &str) -> Result<String> {
        let found = self.output.wait(&format!("{text:?}"), self.cursor, self.patience, |tail| {
            tail.find(text).map(|start| tail[..start].to_string())
        })?;
        self.cursor += found.len() + text.len();
        Ok(found)
    }

    /// Types a line and waits for `text` in what comes after it.
    ///
    /// # Errors
    /// As [`Wasmdbg::send`] and [`Wasmdbg::expect`].
    pub fn ask(&mut self, line: &str, text: &str) -> Result<String> {
        self.send(line)?;
        self.expect(text)
    }

    /// Everything it has written.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.output.all()
    }

    /// Closes its input, as the end of a script does.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        process::signal(self.pid(), signal)
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        wait_for("the end of wasmdbg", limit, || child.try_wait().ok().flatten())
            .with_context(|| format!("it said:\n{}", self.output.all()))
    }
}

impl Drop for Wasmdbg {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
