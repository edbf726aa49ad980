//! Another program says when to sample: the commands of `perf record --control`, by named pipes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Who listens for commands. They are lines: `enable`, `disable`, `ping`, `stop`.
#[derive(Debug)]
pub(super) struct Control {
    commands: File,
    answers: Option<File>,
    /// The beginning of a command.
    text: Vec<u8>,
    /// Commands that are not answered yet.
    owed: usize,
    /// Whether to sample.
    pub(super) enabled: bool,
    /// Whether to end.
    pub(super) stopped: bool,
}

/// No command is longer.
const LONGEST: usize = 64;

impl Control {
    /// Opens `fifo:COMMANDS` or `fifo:COMMANDS,ANSWERS`.
    pub(super) fn open(how: &str) -> Result<Self> {
        let Some(names) = how.strip_prefix("fifo:").filter(|names| !names.is_empty()) else {
            bail!("--control wants fifo:COMMANDS or fifo:COMMANDS,ANSWERS, not {how:?}");
        };
        let (commands, answers) = match names.split_once(',') {
            Some((commands, answers)) => (commands, Some(answers)),
            None => (names, None),
        };
        if answers == Some(commands) {
            bail!("--control: {commands} cannot be both pipes: answers would be taken for commands");
        }
        Ok(Self {
            commands: open(commands)?,
            answers: answers.map(open).transpose()?,
            text: Vec::new(),
            owed: 0,
            enabled: true,
            stopped: false,
        })
    }

    /// What to wait for.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.commands.as_fd()
    }

    /// Says `ack` for each command that was read: what it wanted is done.
    pub(super) fn answer(&mut self) {
        for _ in 0..std::mem::take(&mut self.owed) {
            if let Some(answers) = &mut self.answers {
                // Nobody listens, or does not read: they need no answer.
                let _ = answers.write_all(b"ack\n");
            }
        }
    }

    /// Reads the commands that have come.
    pub(super) fn read(&mut self) {
        let mut bytes = [0; 512];
        // Nothing is there for now, or a signal came: the next turn reads on.
        while let Ok(count @ 1..) = self.commands.read(&mut bytes) {
            self.text.extend_from_slice(&bytes[..count]);
        }
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            self.obey(String::from_utf8_lossy(&line).trim());
        }
        if self.text.len() > LONGEST {
            let start = std::mem::take(&mut self.text);
            self.obey(&String::from_utf8_lossy(&start[..LONGEST]));
        }
    }

    fn obey(&mut self, command: &str) {
        match command {
            "enable" => self.enabled = true,
            "disable" => self.enabled = false,
            "ping" => {}
            "stop" => self.stopped = true,
            other => {
                eprintln!("wasmprof: --control: {other:?} is no command: enable, disable, ping and stop are");
                return;
            }
        }
        self.owed += 1;
    }
}

/// Opens a named pipe for both directions: so it does not end when a writer does.
fn open(path: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(Path::new(path))
        .with_context(|| format!("--control: cannot open {path}: mkfifo {path}"))?;
    if !file.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
        bail!("--control: {path} is no named pipe: mkfifo makes one");
    }
    Ok(file)
}
