//! A profiler that records when it is told to: `wasmprof record` and `perf record`, by `--control`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::scratch::PATIENCE;

/// What is answered to a command that was obeyed.
const ACK: [u8; 4] = *b"ack\n";

/// A profiler under way. It ends when dropped.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    commands: File,
    answers: File,
}

impl Recorder {
    /// Starts `command` with `--control` and waits until it takes no samples.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Result<Self> {
        let pipe = |end: &str| -> Result<_> {
            let path = folder.join(format!("{name}-{end}"));
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
                .with_context(|| format!("cannot make {}", path.display()))?;
            // For both directions, so that opening waits for nobody.
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
            Ok((path, file))
        };
        let ((commands_path, commands), (answers_path, answers)) = (pipe("commands")?, pipe("answers")?);
        let control = format!("fifo:{},{}", commands_path.display(), answers_path.display());
        let child = command
            .args(["--control", &control])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut recorder = Self { child, commands, answers };
        recorder.tell("disable")?;
        Ok(recorder)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command and waits until it is obeyed.
    ///
    /// # Errors
    /// When it is not.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        self.write(&format!("{command}\n"))?;
        let (mut answer, start) = (Vec::<u8>::new(), Instant::now());
        while answer.len() < ACK.len() {
            let mut fds = [PollFd::new(self.answers.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(100_u8))? > 0 {
                let mut bytes = [0; ACK.len()];
                let count = self.answers.read(&mut bytes)?;
                // perf ends each answer with a zero.
                answer.extend(bytes[..count].iter().filter(|byte| **byte != 0));
            } else if let Some(status) = self.child.try_wait()? {
                let mut said = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    stderr.read_to_string(&mut said)?;
                }
                bail!("the recorder has ended, {status}: {said}");
            }
            ensure!(start.elapsed() < PATIENCE, "the recorder does not answer to {command}");
        }
        ensure!(answer == ACK, "the recorder answers {answer:?}");
        Ok(())
    }

    /// Ends it; what it printed on its standard output and its standard error.
    ///
    /// # Errors
    /// When it fails.
    pub fn stop(self) -> Result<(String, String)> {
        let (status, said, errors) = self.end()?;
        ensure!(status.success(), "the recorder ended with {status}: {errors}");
        Ok((said, errors))
    }

    /// As [`Recorder::stop`], for one that may have nothing to show.
    ///
    /// # Errors
    /// When it does not obey.
    pub fn end(mut self) -> Result<(ExitStatus, String, String)> {
        self.tell("stop")?;
        let (mut said, mut errors) = (String::new(), String::new());
        if let (Some(stdout), Some(stderr)) = (&mut self.child.stdout, &mut self.child.stderr) {
            // What it says fits into the pipes: it waits for neither.
            stdout.read_to_string(&mut said)?;
            stderr.read_to_string(&mut errors)?;
        }
        Ok((self.child.wait()?, said, errors))
    }

    /// Writes to it without waiting for an answer.
    ///
    /// # Errors
    /// The pipe is full.
    pub fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.commands.write_all(text.as_bytes())?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
