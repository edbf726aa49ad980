//! The prompt when a program types: stops come by themselves, `continue` returns when its request is
//! done.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::proxy::{Play, Proxy};

struct Typist {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Typist {
    fn start(proxy: &Proxy, arguments: &[&str]) -> Self {
        let mut command = proxy.attach(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { input: child.stdin.take().unwrap(), output: child.stdout.take().unwrap(), child }
    }

    /// What comes before the next prompt.
    fn until_prompt(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"(wasmdbg) ") {
            let mut byte = [0];
            assert_eq!(
                self.output.read(&mut byte).unwrap(),
                1,
                "it ended: {}",
                String::from_utf8_lossy(&text)
            );
            text.push(byte[0]);
        }
        text.truncate(text.len() - "(wasmdbg) ".len());
        String::from_utf8(text).unwrap()
    }

    /// What comes up to the first prompt behind `text`.
    fn until(&mut self, text: &str) -> String {
        let mut all = self.until_prompt();
        while !all.contains(text) {
            all += &self.until_prompt();
        }
        all
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn end(mut self) -> (String, Option<i32>) {
        drop(self.input);
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

#[test]
fn a_stop_shows_at_the_prompt_and_continue_returns_with_the_request() {
    let proxy = Proxy::start(Play::Stop);
    let mut typist = Typist::start(&proxy, &[]);
    let greeting = typist.until_prompt();
    assert!(greeting.contains("x-wasmdbg: 5c0e17") && greeting.contains("after 5m"), "{greeting}");
    typist.type_line("break judge");
    // The stop comes with the answer or after it.
    let text = typist.until("goes on in 10s");
    assert!(text.contains("GET /path #17 stopped: breakpoint 1\n"), "{text}");
    typist.type_line("bt");
    assert!(typist.until_prompt().ends_with("\nGET /path #17\n"));
    typist.type_line("continue");
    assert!(typist.until_prompt().ends_with("GET /path #17 is done: 200\n"));
    typist.type_line("bt");
    typist.until_prompt();
    let (rest, code) = typist.end();
    assert!(rest.ends_with("Detached\n"), "{rest}");
    assert_eq!(code, Some(1), "a program's failed command counts");
}

#[test]
fn a_step_out_of_the_callback_says_how_it_ended() {
    let proxy = Proxy::start(Play::Stop);
    let mut typist = Typist::start(&proxy, &["-ex", "break judge", "-ex", "continue"]);
    typist.until("goes on in 10s");
    typist.type_line("finish");
    typist.until("GET /path #17: proxy_on_request_headers returned Continue\n");
    typist.type_line("quit");
    assert_eq!(typist.end().1, Some(0));
}
