//! An example filter in a session: breakpoints by the text of a line, one request, steps.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wasmdbg_session::{
    Breakpoint, BreakpointOptions, BreakpointSpec, Session, SessionEvent, Step, Stop, SymbolOptions,
};

use crate::machine::Host;
use crate::proxy::Proxy;

/// A filter in a session, with its source.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) proxy: Proxy,
    source: String,
    file: &'static str,
}

impl Bench {
    pub(crate) fn rust(build: &str, token: &str) -> Self {
        Self::new("rust-token", build, "lib.rs", &[("token", token), (":path", "/path")])
    }

    pub(crate) fn cpp(build: &str) -> Self {
        Self::new("cpp-headers", build, "filter.cc", &[(":path", "/path"), ("host", "here.test"), ("x", "y")])
    }

    fn new(name: &str, build: &str, file: &'static str, headers: &[(&str, &str)]) -> Self {
        let folder = format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"));
        let wasm = std::fs::read(format!("{folder}/{name}.{build}.wasm")).expect("an example");
        let source = std::fs::read_to_string(format!("{folder}/src/{file}")).expect("its source");
        let mut proxy = Proxy::new(&wasm, &format!("{folder}/{name}.{build}.wasm"), headers);
        let session = proxy.attach(SymbolOptions::default());
        Self { session, proxy, source, file }
    }

    /// The number of the one line that contains `text`.
    pub(crate) fn line(&self, text: &str) -> u32 {
        let mut found = self.source.lines().enumerate().filter(|(_, line)| line.contains(text));
        let (index, _) = found.next().unwrap_or_else(|| panic!("no line has `{text}`"));
        assert!(found.next().is_none(), "several lines have `{text}`");
        index as u32 + 1
    }

    pub(crate) fn break_at(&mut self, text: &str) -> Breakpoint {
        let spec = BreakpointSpec::Line { file: self.file.into(), line: self.line(text), column: None };
        self.set(spec)
    }

    pub(crate) fn set(&mut self, spec: BreakpointSpec) -> Breakpoint {
        let breakpoint =
            self.session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
        assert!(!breakpoint.is_pending(), "{}: {:?}", breakpoint.requested, breakpoint.notes);
        breakpoint
    }

    /// Creates the contexts and begins the request.
    pub(crate) fn request(&self) -> Receiver<Host> {
        for (export, arguments) in
            [("proxy_on_context_create", &[1, 0]), ("proxy_on_context_create", &[2, 1])]
        {
            self.proxy.call(export, arguments).recv_timeout(Duration::from_secs(20)).expect("a context");
        }
        self.proxy.call("proxy_on_request_headers", &[2, 3, 1])
    }

    pub(crate) fn event(&mut self) -> SessionEvent {
        loop {
            match self.session.next_event(Duration::from_secs(20)).expect("an event") {
                SessionEvent::CallbackEnded { ended, .. } if ended.callback == "proxy_on_context_create" => {}
                event => return event,
            }
        }
    }

    pub(crate) fn stop(&mut self) -> Arc<Stop> {
        match self.event() {
            SessionEvent::Stopped(stop) => stop,
            other => panic!("{other:?} is no stop"),
        }
    }

    /// Function and source line of a frame: `judge: if prime {`.
    pub(crate) fn at(&self, stop: &Stop, frame: u32) -> String {
        let line = stop.frame(frame).expect("a frame").position.expect("a position").line;
        let text = self.source.lines().nth(line as usize - 1).unwrap_or_default().trim();
        format!("{}: {text}", function(stop, frame))
    }

    pub(crate) fn step(&mut self, stop: &Stop, step: Step) -> Arc<Stop> {
        self.session.resume(stop.id(), step).expect("to step");
        self.stop()
    }
}

/// The last part of a frame's function name.
pub(crate) fn function(stop: &Stop, frame: u32) -> String {
    let name = stop.frame(frame).expect("a frame").function;
    name.rsplit("::").next().unwrap_or(&name).to_owned()
}

/// The functions of the innermost frames; inlined ones with a tilde.
pub(crate) fn stack(stop: &Stop, count: u32) -> String {
    let frames = stop.frames(0, count).expect("frames");
    let one = |frame: &wasmdbg_session::Frame| {
        let inlined = if frame.inlined { "~" } else { "" };
        format!("{inlined}{}", function(stop, frame.number))
    };
    frames.iter().map(one).collect::<Vec<_>>().join(" < ")
}
