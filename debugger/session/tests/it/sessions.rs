//! The session itself: attaching, stops that end without its doing, a connection that dies.

use std::time::Duration;

use wasmdbg_control::server::answer_each;
use wasmdbg_control::session::Welcome;
use wasmdbg_control::stop::ReleaseCause;
use wasmdbg_control::{Client, Connection, PROTOCOL_VERSION, Request};
use wasmdbg_session::{
    AttachOptions, BreakpointOptions, BreakpointSpec, Error, Progress, Session, SessionEvent, Step,
    ValueState,
};

use crate::bench::Bench;
use crate::proxy::Proxy;

fn module() -> Vec<u8> {
    std::fs::read(format!("{}/../../examples/cpp-headers/cpp-headers.debug.wasm", env!("CARGO_MANIFEST_DIR")))
        .expect("an example")
}

#[test]
fn progress_is_told_while_attaching_and_other_events_come_first_of_all() {
    let mut proxy = Proxy::new(&module(), "/nowhere/module.wasm", &[]);
    let options = AttachOptions {
        filters: vec!["fixture".into()],
        deadline: Some(Duration::from_millis(1500)),
        ..AttachOptions::default()
    };
    let (mut lane, mut read) = (0, Vec::new());
    let mut session = proxy
        .attach_with(&options, &mut |progress| match progress {
            Progress::Lane(_) => lane += 1,
            Progress::ReadingModule { done, size, .. } => read.push((*done, *size)),
        })
        .expect("a session");
    assert_eq!(session.attached().deadline_ms, 1500);
    assert_eq!(lane, 1);
    let size = module().len() as u64;
    assert_eq!(read, [(512 * 1024, size), (size, size)], "the module came over the socket");
    let first = session.next_event(Duration::from_secs(20));
    assert!(matches!(&first, Some(SessionEvent::Log(line)) if line.message == "configured"), "{first:?}");
}

#[test]
fn a_refused_attach_says_why() {
    let mut proxy = Proxy::new(&module(), "/nowhere/module.wasm", &[]);
    let options = AttachOptions { filters: vec!["absent".into()], ..AttachOptions::default() };
    let error = proxy.attach_with(&options, &mut |_| {}).expect_err("no such filter");
    assert!(matches!(&error, Error::Refused(wire) if wire.message == "no filter has that name"), "{error}");
}

#[test]
fn a_stop_that_the_deadline_ended_is_over() {
    let mut bench = Bench::cpp("debug");
    bench.set(BreakpointSpec::Function("measure".into()));
    let done = bench.request();
    let stop = bench.stop();
    let early = stop.evaluate(0, "request.headers[0].name").expect("a value");
    assert_eq!(early.summary(), "\":path\"");
    bench.proxy.pass_deadline();
    match bench.event() {
        SessionEvent::Released(released) => assert_eq!(released.cause, ReleaseCause::Deadline),
        other => panic!("{other:?}"),
    }
    assert!(bench.session.stops().is_empty());
    assert!(
        matches!(bench.session.resume(stop.id(), Step::Over), Err(Error::StopOver(id)) if id == stop.id())
    );
    // What was read stays; what was not is a value that says so.
    assert_eq!(early.summary(), "\":path\"");
    let late = stop.evaluate(0, "requests").expect("a value");
    assert!(
        matches!(late.state(), ValueState::Unreadable(why) if why.contains("over")),
        "{late:?} {:?}",
        late.state()
    );
    done.recv_timeout(Duration::from_secs(20)).expect("the callback went on");
}

#[test]
fn a_dead_connection_is_said_again_and_again() {
    let Bench { mut session, proxy, .. } = Bench::cpp("debug");
    let spec = BreakpointSpec::Function("measure".into());
    session.set_breakpoint(spec.clone(), &BreakpointOptions::default()).expect("a breakpoint");
    drop(proxy);
    let gone = |event: Option<SessionEvent>| matches!(event, Some(SessionEvent::Disconnected(why)) if why.contains("closed"));
    while let Some(event) = session.next_event(Duration::from_secs(20)) {
        if gone(Some(event)) {
            break;
        }
    }
    assert!(gone(session.next_event(Duration::from_secs(20))));
    let error = session.set_breakpoint(spec, &BreakpointOptions::default()).expect_err("nobody to ask");
    assert!(matches!(error, Error::Disconnected(_)), "{error}");
    assert_eq!(session.breakpoints().len(), 1, "what could not be planted is not kept");
}

#[test]
fn memory_is_read_up_to_its_end() {
    let mut bench = Bench::cpp("debug");
    bench.set(BreakpointSpec::Function("measure".into()));
    let _done = bench.request();
    let stop = bench.stop();
    let address = stop.evaluate(0, "&request").expect("an address").as_integer().expect("a number") as u64;
    let id = stop.evaluate(0, "request.id").expect("a value");
    let bytes = stop.read_memory(address, 4).expect("memory");
    assert_eq!((bytes, id.summary().as_str()), (vec![2, 0, 0, 0], "2"));
    assert_eq!(id.address(), Some(address));
    let size = 2 * 65536 * 64;
    let error = stop.read_memory(size, 4).expect_err("outside").to_string();
    assert!(error.contains("outside the memory"), "{error}");
}

#[test]
fn a_proxy_that_answers_nothing_is_given_up() {
    let (ours, theirs) = Connection::memory().expect("a socket pair");
    std::thread::spawn(move || {
        answer_each(theirs, |request| match request {
            Request::Hello(_) => Some(Ok(Welcome {
                protocol: PROTOCOL_VERSION,
                plugin: "0.1.0".into(),
                host: "silent".into(),
                pid: 1,
                capabilities: Vec::new(),
            }
            .into())),
            _ => None,
        });
    });
    let (client, events) = Client::greet(ours, "session tests").expect("a greeting");
    let attached = Session::attach(client, events, &AttachOptions::default(), &mut |_| {});
    let why = attached.map(drop).expect_err("nobody answers").to_string();
    assert_eq!(why, "the proxy has not answered `filters` within 10 s");
}
