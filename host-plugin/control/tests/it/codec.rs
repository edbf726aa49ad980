//! Frames by themselves.

use wasmdbg_control::codec::{Decoder, EncodeError, FrameError, encode, fitting};
use wasmdbg_control::filters::ModuleBytes;
use wasmdbg_control::session::{Activity, Attach, LaneStart};
use wasmdbg_control::state::{Value, WriteMemory};
use wasmdbg_control::{ErrorKind, MAX_FRAME, Message, StopId, WireError};

use crate::support::frame;

fn activity(id: u64) -> Message {
    Message::Request { id, body: Activity {}.into() }
}

#[test]
fn messages_survive_any_cut_of_the_stream() {
    let stream: Vec<u8> = (1..=3).flat_map(|id| encode(&activity(id)).unwrap()).collect();
    for size in 1..stream.len() {
        let mut decoder = Decoder::new();
        let mut messages = Vec::new();
        for piece in stream.chunks(size) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message().unwrap() {
                messages.push(message);
            }
        }
        decoder.finish().unwrap();
        assert_eq!(messages, [activity(1), activity(2), activity(3)], "in pieces of {size}");
    }
}

#[test]
fn an_oversized_frame_is_known_by_its_length() {
    let mut decoder = Decoder::new();
    let length = MAX_FRAME + 1;
    decoder.push(&u32::try_from(length).unwrap().to_be_bytes());
    let error = decoder.next_message().unwrap_err();
    assert_eq!(error, FrameError::TooLarge { length });
    assert_eq!(error.to_string(), "a frame of 1048577 bytes is over the limit of 1048576");
}

#[test]
fn a_malformed_frame_says_what_was_wrong() {
    let error = |body: &[u8]| {
        let mut decoder = Decoder::new();
        decoder.push(&frame(body));
        decoder.next_message().unwrap_err().to_string()
    };
    let text = error(br#"{"request":{"id":1,"body":{"method":"atach","params":{}}}}"#);
    assert!(text.contains("unknown variant `atach`") && text.contains("`attach`"), "{text}");
    let text = error(br#"{"request":{"id":1,"body":{"method":"attach","params":{"filters":[]}}}}"#);
    assert!(text.contains("missing field `rules`"), "{text}");
    let text = error(b"GET / HTTP/1.1");
    assert!(text.contains("line 1 column 1"), "{text}");
    assert!(error(&[0xff, 0xfe]).contains("no message of the control protocol"));
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_truncated() {
    let mut decoder = Decoder::new();
    let bytes = encode(&activity(1)).unwrap();
    decoder.push(&bytes[..bytes.len() - 1]);
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.finish(), Err(FrameError::Truncated { received: bytes.len() - 1 }));
}

#[test]
fn a_reply_that_does_not_fit_becomes_an_error() {
    let reply = ModuleBytes { size: 0, data: vec![0; MAX_FRAME] };
    let mut decoder = Decoder::new();
    decoder.push(&encode(&Message::Response { id: 9, body: reply.into() }).unwrap());
    let Some(Message::Error { id: 9, error }) = decoder.next_message().unwrap() else { panic!("no error") };
    assert_eq!(error.kind, ErrorKind::State);
    assert!(error.message.contains("ask for less"), "{error}");
}

#[test]
fn an_error_that_does_not_fit_is_cut_and_sent() {
    let error = WireError::new(ErrorKind::NotFound, "\u{1}".repeat(MAX_FRAME));
    let mut decoder = Decoder::new();
    decoder.push(&encode(&Message::Error { id: 9, error }).unwrap());
    let Some(Message::Error { id: 9, error }) = decoder.next_message().unwrap() else { panic!("no error") };
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.message.chars().count(), 4097);
}

#[test]
fn a_list_is_kept_as_far_as_it_fits() {
    let items: Vec<String> = (0..1000).map(|_| "\u{1}".repeat(10)).collect();
    let (kept, rest) = fitting(items, 10_000);
    // 60 bytes of escapes, two quotes, a comma.
    assert_eq!((kept.len(), rest), (10_000 / 63, 1000 - 10_000 / 63));
    assert!(serde_json::to_vec(&kept).unwrap().len() <= 10_000);
    assert_eq!(fitting(vec![1, 2], 4), (vec![1, 2], 0));
}

#[test]
fn a_value_takes_no_more_than_is_reckoned_for_it() {
    let values = [
        Value::I32(i32::MIN),
        Value::I64(i64::MIN),
        Value::F32(u32::MAX),
        Value::F64(u64::MAX),
        Value::V128("f".repeat(32)),
        Value::Ref("extern".into()),
        Value::Unknown,
    ];
    for value in values {
        let size = serde_json::to_vec(&value).unwrap().len() + 1;
        assert!(size <= value.wire_size() && value.wire_size() <= size + 1, "{value:?}: {size}");
    }
}

#[test]
fn a_request_that_does_not_fit_is_not_sent() {
    let write = WriteMemory { stop: StopId(1), memory: 0, address: 0, data: vec![0; MAX_FRAME] };
    let error = encode(&Message::Request { id: 1, body: write.into() }).unwrap_err();
    assert!(matches!(error, EncodeError::TooLarge { length } if length > MAX_FRAME), "{error}");
}

#[test]
fn unknown_fields_are_no_error() {
    let body = br#"{"request":{"id":1,"body":{"method":"attach","params":{"filters":[],"rules":[],"all":true,
        "deadline_ms":null,"a_later_field":1}}}}"#;
    let mut decoder = Decoder::new();
    decoder.push(&frame(body));
    let attach =
        Attach { filters: vec![], rules: vec![], all: true, deadline_ms: None, start: LaneStart::AtOnce };
    assert_eq!(decoder.next_message().unwrap(), Some(Message::Request { id: 1, body: attach.into() }));
}
