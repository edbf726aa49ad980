//! docs/CONTROL_PROTOCOL.md holds what the types hold.

use std::collections::BTreeSet;
use std::path::Path;

use wasmdbg_control::message::{Event, Request};
use wasmdbg_control::{MAX_FRAME, Message, PROTOCOL_VERSION};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONTROL_PROTOCOL.md");
    std::fs::read_to_string(path).unwrap()
}

/// The JSON blocks of the document, as messages.
fn examples(document: &str) -> Vec<Message> {
    let blocks = document.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|text| {
            let message: Message =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
            // The other way too: no field that the types do not have, none missing.
            let written: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_value(&message).unwrap(), written);
            message
        })
        .collect()
}

/// Its name on the wire; a new event must be added here and to [`EVENTS`].
fn event_name(event: &Event) -> &'static str {
    match event {
        Event::LaneProgress(_) => "lane_progress",
        Event::Stopped(_) => "stopped",
        Event::Released(_) => "released",
        Event::DeadlineWarning(_) => "deadline_warning",
        Event::CallbackEnded(_) => "callback_ended",
        Event::TransactionStarted(_) => "transaction_started",
        Event::TransactionEnded(_) => "transaction_ended",
        Event::Missed(_) => "missed",
        Event::Log(_) => "log",
        Event::LaneFailed(_) => "lane_failed",
    }
}

const EVENTS: [&str; 10] = [
    "callback_ended",
    "deadline_warning",
    "lane_failed",
    "lane_progress",
    "log",
    "missed",
    "released",
    "stopped",
    "transaction_ended",
    "transaction_started",
];

#[test]
fn every_message_has_an_example_that_parses() {
    let document = document();
    let (mut requests, mut replies, mut events, mut headings) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in document.lines().filter_map(|line| line.strip_prefix("### ")) {
        headings.extend(line.trim_start_matches("Event ").split(", "));
    }
    for message in examples(&document) {
        match message {
            Message::Request { body, .. } => drop(requests.insert(body.method())),
            Message::Response { body, .. } => drop(replies.insert(body.method())),
            Message::Error { .. } => {}
            Message::Event(event) => drop(events.insert(event_name(&event))),
        }
    }
    let methods: BTreeSet<_> = Request::METHODS.iter().copied().collect();
    assert_eq!(requests, methods);
    assert_eq!(replies, methods);
    assert_eq!(events, BTreeSet::from(EVENTS));
    assert_eq!(headings, methods.union(&events).copied().collect());
}

#[test]
fn the_recorded_session_parses() {
    let document = document();
    let recorded = document.split("```text\n").last().unwrap().split("```").next().unwrap();
    let mut asked = BTreeSet::new();
    for line in recorded.lines() {
        let (side, text) = line.split_at(2);
        let message: Message = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        match message {
            Message::Request { id, .. } => assert!(side == "> " && asked.insert(id), "{line}"),
            Message::Response { id, .. } => assert!(side == "< " && asked.remove(&id), "{line}"),
            Message::Error { .. } | Message::Event(_) => assert_eq!(side, "< "),
        }
    }
    assert!(asked.is_empty());
}

#[test]
fn the_numbers_in_the_text_are_the_codes() {
    let document = document();
    assert!(document.contains(&format!("The version is {PROTOCOL_VERSION}.")));
    assert_eq!(MAX_FRAME, 1_048_576, "as the text says");
    assert!(document.contains("at most 1,048,576"));
}
