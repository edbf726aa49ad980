//! Local responses: what of them goes out.

use wasmdbg_control::ContextId;
use wasmdbg_proxy_wasm::{Action, Effect, LocalResponse, Outcome};

use super::{PAUSING, filter};
use crate::double::{At, Transaction, serve};
use crate::flow::{machines, release};
use crate::sys::event::{HTTP_CONTINUE, HTTP_ERROR};

/// What becomes of a request, or of a response, for which a filter does this while it waits.
fn decided(phase: &'static str, action: Action) -> &'static Transaction {
    // A thread has its virtual machines for good.
    let body = move || {
        let text = filter(&PAUSING.replace("request", phase));
        serve(&[("pausing", &text, true)], "limits: {pause: off}");
        let transaction = Transaction::start(false);
        let effects = vec![Effect { context: ContextId(2), stream: None, action }];
        machines::enter(0, None, |_, _| ((), Outcome { action: Action::Continue, effects }));
        release::run();
        assert!(transaction.is_over());
        transaction
    };
    std::thread::spawn(body).join().unwrap()
}

fn response(status: u32, fields: &[(&str, &str)]) -> Action {
    let field = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Action::Respond(Box::new(LocalResponse {
        status,
        details: Vec::new(),
        body: b"no".to_vec(),
        headers: fields.iter().map(field).collect(),
    }))
}

#[test]
fn the_fields_of_a_filter_go_out_but_for_framing() {
    let fields = [
        ("Set-Cookie", "a=1"),
        ("Content-Length", "99"),
        ("server", "mine"),
        ("Transfer-Encoding", "chunked"),
        ("set-cookie", "b=2"),
        ("Connection", "close"),
        ("Content-Type", "text/html"),
        ("X-Bad", "a\r\nX-Worse: b"),
    ];
    for phase in ["request", "response"] {
        let transaction = decided(phase, response(403, &fields));
        assert_eq!(transaction.answer(), Some((403, "no".into())));
        let out = transaction.response().unwrap();
        assert_eq!(out.values("Set-Cookie"), ["a=1", "b=2"], "{phase}");
        assert_eq!(out.values("Server"), ["mine"]);
        assert_eq!(out.values("Content-Type"), ["text/html"]);
        assert_eq!(out.values("Content-Length"), ["2"]);
        for absent in ["Transfer-Encoding", "Connection", "X-Bad", "X-Worse", "Content-Language"] {
            assert!(out.values(absent).is_empty(), "{absent}: {:?}", out.lines());
        }
        assert_eq!((out.values("Date").len(), out.handles()), (1, 0), "the server's own stay");
        assert!(transaction.keeps_its_connection(), "{phase}");
    }
}

#[test]
fn a_response_without_a_body_has_none_and_one_that_is_not_final_is_a_fault() {
    for (status, expected) in [(204, (204, "")), (304, (304, "")), (103, (500, "no")), (70_000, (500, "no"))]
    {
        let transaction = decided("request", response(status, &[]));
        assert_eq!(transaction.answer(), Some((expected.0, expected.1.into())));
        assert_eq!(transaction.response().unwrap().values("Content-Type"), ["text/plain"]);
    }
}

#[test]
fn a_stream_that_is_closed_takes_its_connection_along() {
    let transaction = decided("request", Action::Close);
    assert_eq!(transaction.left()[0], (At::Request, HTTP_ERROR));
    assert_eq!(
        (transaction.answer(), transaction.keeps_its_connection()),
        (Some((503, String::new())), false)
    );
}

/// Its client has had its response.
#[test]
fn an_answer_at_the_end_is_none() {
    let text = filter(r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))"#);
    serve(&[("late", &text, true)], "limits: {done: off}");
    let transaction = Transaction::start(false);
    assert_eq!(transaction.at(), At::Close, "it is held");
    let effects = vec![Effect { context: ContextId(2), stream: None, action: response(403, &[]) }];
    machines::enter(0, None, |_, _| ((), Outcome { action: Action::Continue, effects }));
    release::run();
    assert_eq!((transaction.is_over(), transaction.answer()), (true, None));
    assert!(transaction.left().iter().all(|(_, event)| *event == HTTP_CONTINUE));
}
