//! Steps by line through real filters, unoptimised and optimised.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use wasmdbg_session::{
    Breakpoint, BreakpointOptions, BreakpointSpec, Session, SessionEvent, Step, Stop, SymbolOptions,
};

use crate::machine::Host;
use crate::proxy::Proxy;

/// A filter in a session, with its source.
struct Bench {
    session: Session,
    proxy: Proxy,
    source: String,
    file: &'static str,
}

impl Bench {
    fn rust(build: &str, token: &str) -> Self {
        Self::new("rust-token", build, "lib.rs", &[("token", token), (":path", "/path")])
    }

    fn cpp(build: &str) -> Self {
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
    fn line(&self, text: &str) -> u32 {
        let mut found = self.source.lines().enumerate().filter(|(_, line)| line.contains(text));
        let (index, _) = found.next().unwrap_or_else(|| panic!("no line has `{text}`"));
        assert!(found.next().is_none(), "several lines have `{text}`");
        index as u32 + 1
    }

    fn break_at(&mut self, text: &str) -> Breakpoint {
        let spec = BreakpointSpec::Line { file: self.file.into(), line: self.line(text), column: None };
        self.set(spec)
    }

    fn set(&mut self, spec: BreakpointSpec) -> Breakpoint {
        let breakpoint =
            self.session.set_breakpoint(spec, &BreakpointOptions::default()).expect("a breakpoint");
        assert!(!breakpoint.is_pending(), "{}: {:?}", breakpoint.requested, breakpoint.notes);
        breakpoint
    }

    /// Creates the contexts and begins the request.
    fn request(&self) -> Receiver<Host> {
        for start in ["_start", "_initialize"] {
            let _ = start;
        }
        for (export, arguments) in
            [("proxy_on_context_create", &[1, 0]), ("proxy_on_context_create", &[2, 1])]
        {
            self.proxy.call(export, arguments).recv_timeout(Duration::from_secs(20)).expect("a context");
        }
        self.proxy.call("proxy_on_request_headers", &[2, 3, 1])
    }

    fn event(&mut self) -> SessionEvent {
        loop {
            match self.session.next_event(Duration::from_secs(20)).expect("an event") {
                SessionEvent::CallbackEnded { ended, .. } if ended.callback == "proxy_on_context_create" => {}
                event => return event,
            }
        }
    }

    fn stop(&mut self) -> Arc<Stop> {
        match self.event() {
            SessionEvent::Stopped(stop) => stop,
            other => panic!("{other:?} is no stop"),
        }
    }

    fn step(&mut self, stop: &Stop, step: Step) -> Arc<Stop> {
        self.session.resume(stop.id(), step).expect("to step");
        self.stop()
    }
}

/// Function and line of a frame: `is_prime:141`.
fn at(stop: &Stop, frame: u32) -> String {
    let frame = stop.frame(frame).expect("a frame");
    let name =
        frame.function.rsplit("::").next().unwrap_or(&frame.function).split('(').next().unwrap_or_default();
    let line = frame.position.as_ref().map_or(0, |position| position.line);
    format!(
        "{name}:{line}{}",
        if std::env::var("P").is_ok() {
            frame.position.map_or(String::new(), |p| format!("[{}]", p.file))
        } else {
            String::new()
        }
    )
}

fn stack(stop: &Stop) -> String {
    let frames = stop.frames(0, 12).expect("frames");
    let one = |frame: &wasmdbg_session::Frame| {
        let inlined = if frame.inlined { "~" } else { "" };
        format!("{inlined}{}", at(stop, frame.number))
    };
    frames.iter().map(one).collect::<Vec<_>>().join(" < ")
}

#[test]
fn explore() {
    for build in ["debug", "release"] {
        println!("--- rust {build}");
        let mut bench = Bench::rust(build, "91");
        let b = bench.break_at("self.verdict = judge(text.as_deref());");
        println!("{b:?}");
        let done = bench.request();
        let mut stop = bench.stop();
        println!("{}", stack(&stop));
        for step in [Step::Over, Step::Over, Step::Over] {
            stop = bench.step(&stop, step);
            println!("{step:?}: {}", stack(&stop));
        }
        bench.session.resume(stop.id(), Step::Continue).unwrap();
        done.recv_timeout(Duration::from_secs(20)).unwrap();
        println!("--- into");
        let mut bench = Bench::rust(build, "91");
        bench.break_at("self.verdict = judge(text.as_deref());");
        let done = bench.request();
        let mut stop = bench.stop();
        for _ in 0..14 {
            stop = bench.step(&stop, Step::Into);
            println!("into: {}", stack(&stop));
        }
        let mut stop = bench.step(&stop, Step::Out { frame: 0 });
        println!("out: {}", stack(&stop));
        for step in [Step::Over, Step::Over, Step::Over] {
            stop = bench.step(&stop, step);
            println!("{step:?}: {}", stack(&stop));
        }
        bench.session.resume(stop.id(), Step::Continue).unwrap();
        done.recv_timeout(Duration::from_secs(20)).unwrap();
        println!("--- cpp {build}");
        let mut bench = Bench::cpp(build);
        let b = bench.set(BreakpointSpec::Function("measure".into()));
        println!("{b:?}");
        let done = bench.request();
        let mut stop = bench.stop();
        println!("{}", stack(&stop));
        for _ in 0..24 {
            stop = bench.step(&stop, Step::Over);
            println!("over: {}", stack(&stop));
        }
        bench.session.resume(stop.id(), Step::Continue).unwrap();
        done.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
