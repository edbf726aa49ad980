//! Header maps of a request that waits, as a filter writes them.

use wasmdbg_proxy_wasm::{HeaderMap, Transaction as _};

use super::{PAUSING, filter};
use crate::double::{At, Exchange, Message, serve};
use crate::transaction::StreamTransaction;
use crate::ts::Access;

const MAP: HeaderMap = HeaderMap::RequestHeaders;

/// A parked request with so many fields beside `Host` and `Content-Length`.
fn parked(fields: usize) -> (&'static Message, StreamTransaction) {
    serve(&[("pausing", &filter(PAUSING), true)], "limits: {pause: off}");
    let request = Message::request("POST", "/").with("Host", "example.com").with("Content-Length", "2");
    for number in 0..fields {
        request.with(&format!("x-{number}"), "1");
    }
    let transaction = Exchange { request, ..Exchange::new() }.start();
    assert_eq!(transaction.at(), At::Request, "it waits");
    (request, StreamTransaction::new(&Access::in_memory(transaction)))
}

fn pairs(stream: &mut StreamTransaction) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    let headers = stream.headers(MAP).unwrap();
    headers.pairs(&mut |name, value| pairs.push((name.to_vec(), value.to_vec()))).unwrap();
    pairs
}

/// Changes one field, removes one and adds two, one of a name that is there.
fn change(pairs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    pairs.iter_mut().find(|(name, _)| name == b"x-1").unwrap().1 = b"changed".to_vec();
    pairs.retain(|(name, _)| name != b"x-2");
    pairs.push((b"X-3".to_vec(), b"second".to_vec()));
    pairs.push((b"y".to_vec(), b"new".to_vec()));
}

/// The client decides how many fields there are, and a filter that writes the map back must not be ended for it.
#[test]
fn writing_a_large_map_costs_what_was_changed() {
    const FIELDS: usize = 600;
    let (request, mut stream) = parked(FIELDS);
    let mut map = pairs(&mut stream);
    change(&mut map);
    request.take_work();
    stream.headers(MAP).unwrap().set_all(&map).unwrap();
    let all_pairs = (FIELDS as u64 + 2).pow(2);
    let work = request.take_work();
    assert!(work < 12 * all_pairs, "{work} pairs for three changes, and there are {all_pairs}");
    let mut expected = vec!["Host: example.com".to_owned(), "Content-Length: 2".to_owned()];
    expected.extend(["x-0: 1".to_owned(), "x-1: changed".to_owned()]);
    expected.extend((3..FIELDS).map(|number| format!("x-{number}: 1")));
    expected.extend(["X-3: second".to_owned(), "y: new".to_owned()]);
    assert_eq!(request.lines(), expected);
}

#[test]
fn a_small_map_has_the_order_that_was_written_and_the_servers_framing() {
    let (request, mut stream) = parked(4);
    let mut map = pairs(&mut stream);
    change(&mut map);
    map.reverse();
    stream.headers(MAP).unwrap().set_all(&map).unwrap();
    let first = request.lines().remove(0);
    assert_eq!(first, "Content-Length: 2", "before anything that can fail");
    let others: Vec<_> = request.lines().split_off(1);
    assert_eq!(others, ["Host: example.com", "y: new", "X-3: second", "x-3: 1", "x-1: changed", "x-0: 1"]);
}

/// Framing fields that a filter writes read back in its order, and the server's go out.
#[test]
fn framing_fields_read_back_in_the_order_they_were_written() {
    let (request, mut stream) = parked(100);
    let mut map = pairs(&mut stream);
    map.retain(|(name, _)| name != b"Content-Length");
    map.push((b"Transfer-Encoding".to_vec(), b"chunked".to_vec()));
    map.push((b"content-length".to_vec(), b"9".to_vec()));
    stream.headers(MAP).unwrap().set_all(&map).unwrap();
    assert_eq!(request.values("content-length"), ["2"]);
    assert!(request.values("transfer-encoding").is_empty());
    let mut back = pairs(&mut stream);
    let tail = back.split_off(back.len() - 2);
    assert_eq!(tail, [map[map.len() - 2].clone(), map[map.len() - 1].clone()]);
}

/// The server can refuse a field: what says where the message ends is there nevertheless.
#[test]
fn a_map_that_the_server_refuses_keeps_its_framing() {
    let (request, mut stream) = parked(4);
    let map = pairs(&mut stream);
    request.set_room(2);
    assert!(stream.headers(MAP).unwrap().set_all(&map).is_err());
    assert_eq!(request.values("content-length"), ["2"]);
}
