//! The prompt when a person types: on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::proxy::{PATIENCE, Play, Proxy};

struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(proxy: &Proxy, environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let slave = File::from(pair.slave);
        let mut command = proxy.attach(&[]);
        command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
        let child = command
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        drop(command);
        let keyboard = File::from(pair.master);
        let mut display = keyboard.try_clone().unwrap();
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The last slave's end is an error on Linux.
            while let Ok(count @ 1..) = display.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for `text` behind what was waited for before.
    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.seen),
            }
        }
        let at = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..at);
    }

    fn end(mut self) -> Option<i32> {
        self.press("\u{4}");
        self.wait_for("Detached");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn words_are_completed_and_lines_remembered() {
    let proxy = Proxy::start(Play::Nothing);
    let mut terminal = Terminal::start(&proxy, &[]);
    terminal.wait_for("(wasmdbg) ");
    terminal.press("tb\t jud\t");
    terminal.wait_for("tbreak rust_token::judge");
    terminal.press("\r");
    terminal.wait_for("Temporary breakpoint 1 at ");
    terminal.wait_for("(wasmdbg) ");
    terminal.press("\u{1b}[A");
    terminal.wait_for("tbreak rust_token::judge");
    // Ctrl-C drops the line and, with nothing running, says so.
    terminal.press("\u{3}");
    terminal.wait_for("no callback runs (`quit` leaves)");
    terminal.press("frobnicate\r");
    terminal.wait_for("there is no command \"frobnicate\"");
    terminal.wait_for("(wasmdbg) ");
    assert_eq!(terminal.end(), Some(0), "a person's mistakes are no failure");
    let history = std::fs::read_to_string(proxy.folder().join(".local/state/wasmdbg/history")).unwrap();
    assert!(history.contains("tbreak rust_token::judge\n"), "{history}");
}

#[test]
fn a_stop_shows_above_the_line_and_typing_is_a_sign_of_life() {
    let proxy = Proxy::start(Play::Stop);
    let mut terminal = Terminal::start(&proxy, &[]);
    terminal.wait_for("(wasmdbg) ");
    terminal.press("break judge\r");
    terminal.wait_for("\u{1b}[1mGET /path #17 stopped: breakpoint 1\u{1b}[0m");
    terminal.wait_for("goes on in 10s");
    proxy.wait_for("set_breakpoints");
    terminal.press("p te");
    // Once a second a key counts.
    while proxy.asked.recv_timeout(Duration::from_millis(100)) != Ok("activity") {
        terminal.press("x\u{7f}");
    }
    terminal.press("\t");
    terminal.wait_for("p text");
    terminal.press("\r");
    terminal.wait_for("text\u{1b}[0m = ");
    terminal.press("c\r");
    terminal.wait_for("GET /path #17 is done: 200");
    terminal.wait_for("(wasmdbg) ");
    // With nothing stopped it waits, until Ctrl-C.
    terminal.press("c\r");
    terminal.wait_for("c");
    assert_eq!(terminal.end_of_wait(), Some(0));
}

#[test]
fn no_color_is_respected() {
    let proxy = Proxy::start(Play::Nothing);
    let mut terminal = Terminal::start(&proxy, &[("NO_COLOR", "1")]);
    terminal.wait_for("filter token can be debugged");
    terminal.wait_for("(wasmdbg) ");
    assert_eq!(terminal.end(), Some(0));
}

impl Terminal {
    /// SIGINT until the wait is over: the first may come before it has begun.
    fn end_of_wait(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains("not waiting any more: no callback runs") {
            assert!(Instant::now() < end, "{:?}", self.seen);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
            if let Ok(bytes) = self.screen.recv_timeout(Duration::from_millis(200)) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        self.wait_for("(wasmdbg) ");
        self.end()
    }
}
