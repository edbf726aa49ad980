//! Header maps and properties of a transaction, and what of them goes out.

use std::sync::atomic::Ordering::Relaxed;

use wasmdbg_proxy_wasm::HeaderMap::{RequestHeaders, ResponseHeaders};
use wasmdbg_proxy_wasm::{HeaderMap, Headers, Status, Transaction as _};

use super::{PAUSING, filter};
use crate::double::{
    At, Certificate, Exchange, Message, REQUEST_BYTES, RESPONSE_BYTES, STARTED, Transaction, locked, serve,
};
use crate::transaction::StreamTransaction;
use crate::ts::Access;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(texts: &[(&str, &str)]) -> Pairs {
    texts.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// A transaction that waits in its first hook, and how filters see it.
fn parked(exchange: Exchange) -> (&'static Transaction, StreamTransaction) {
    serve(&[("pausing", &filter(PAUSING), true)], "limits: {pause: off}");
    let transaction = exchange.start();
    assert_eq!(transaction.at(), At::Request);
    (transaction, StreamTransaction::new(&Access::in_memory(transaction)))
}

fn with(request: &'static Message) -> Exchange {
    Exchange { request, ..Exchange::new() }
}

fn of_request(stream: &mut StreamTransaction) -> &mut dyn Headers {
    stream.headers(RequestHeaders).unwrap()
}

fn of_response(stream: &mut StreamTransaction) -> &mut dyn Headers {
    stream.headers(ResponseHeaders).unwrap()
}

fn header(stream: &mut StreamTransaction, map: HeaderMap, name: &str) -> Result<String, Status> {
    let mut value = Vec::new();
    stream.headers(map)?.get(name.as_bytes(), &mut value)?;
    Ok(String::from_utf8(value).unwrap())
}

fn all(stream: &mut StreamTransaction, map: HeaderMap) -> Pairs {
    let mut pairs = Vec::new();
    let headers = stream.headers(map).unwrap();
    headers.pairs(&mut |name, value| pairs.push((name.to_vec(), value.to_vec()))).unwrap();
    assert_eq!(headers.count(), Ok(pairs.len() as u32));
    pairs
}

fn property(stream: &mut StreamTransaction, path: &str) -> Result<Vec<u8>, Status> {
    let path: Vec<&[u8]> = path.split('.').map(str::as_bytes).collect();
    let mut value = Vec::new();
    stream.property(&path, &mut value)?;
    Ok(value)
}

fn number(stream: &mut StreamTransaction, path: &str) -> u64 {
    u64::from_le_bytes(property(stream, path).unwrap().try_into().unwrap())
}

#[test]
fn repetitions_are_removed_and_replaced_together() {
    let request = Message::request("GET", "/");
    for (name, value) in [("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-C", "4"), ("x-c", "5"), ("X-C", "6")]
    {
        request.with(name, value);
    }
    let (transaction, mut stream) = parked(with(request));
    assert_eq!(header(&mut stream, RequestHeaders, "X-c"), Ok("4,5,6".into()));
    of_request(&mut stream).remove(b"x-A").unwrap();
    of_request(&mut stream).replace(b"x-C", b"7").unwrap();
    of_request(&mut stream).replace(b"X-New", b"8").unwrap();
    of_request(&mut stream).add(b"X-B", b"9").unwrap();
    assert_eq!(request.lines(), ["X-B: 2", "X-C: 7", "X-New: 8", "X-B: 9"]);
    assert_eq!(header(&mut stream, RequestHeaders, "x-a"), Err(Status::NotFound));
    assert_eq!((transaction.request().handles(), locked()), (0, 0), "all is given back");
}

#[test]
fn nothing_is_changed_by_what_is_refused() {
    let request = Message::request("GET", "/p?q").with("X-A", "1").with("X-A", "2");
    let (_, mut stream) = parked(with(request));
    let before = request.lines();
    for bad in ["a\rb", "a\nb", "a\0b"] {
        for value in [(b"X-A".as_slice(), bad.as_bytes()), (bad.as_bytes(), b"1"), (b":path", bad.as_bytes())]
        {
            let refused = Err(Status::BadArgument);
            assert_eq!(of_request(&mut stream).add(value.0, value.1), refused);
            assert_eq!(of_request(&mut stream).replace(value.0, value.1), refused);
            let map = [pairs(&[(":path", "/other"), ("X-B", "3")]), vec![(value.0.into(), value.1.into())]];
            assert_eq!(of_request(&mut stream).set_all(&map.concat()), refused);
        }
    }
    assert_eq!(stream.set_property(&[b"request", b"path"], b"/a b"), Err(Status::BadArgument));
    assert_eq!(of_request(&mut stream).remove(b":path"), Err(Status::BadArgument));
    assert_eq!((request.lines(), request.start_line().as_str()), (before, "GET /p?q"));
}

/// What stays is little: taking the rest away one by one would cost more than writing it.
#[test]
fn a_large_map_is_made_small_at_once() {
    let request = Message::request("POST", "/");
    for place in 0..670 {
        request.with(&format!("X-{place}"), "1");
    }
    let (_, mut stream) = parked(with(request.with("Content-Length", "5")));
    of_request(&mut stream).set_all(&pairs(&[("X-1", "1"), ("X-Other", "2")])).unwrap();
    assert_eq!(request.lines(), ["Content-Length: 5", "X-1: 1", "X-Other: 2"]);
    let work = request.take_work();
    assert!(work < 100, "{work}");
    assert_eq!(request.handles(), 0);
}

#[test]
fn framing_that_is_written_reads_back_and_does_not_go_out() {
    let request = Message::request("POST", "/").with("Content-Length", "5").with("X-A", "1");
    let (_, mut stream) = parked(with(request));
    of_request(&mut stream).replace(b"content-length", b"7").unwrap();
    of_request(&mut stream).add(b"Transfer-Encoding", b"chunked").unwrap();
    assert_eq!(header(&mut stream, RequestHeaders, "Content-Length"), Ok("7".into()));
    assert_eq!(all(&mut stream, RequestHeaders).len(), 7);
    of_request(&mut stream).remove(b"Content-Length").unwrap();
    assert_eq!(header(&mut stream, RequestHeaders, "Content-Length"), Err(Status::NotFound));
    assert_eq!(request.lines(), ["Content-Length: 5", "X-A: 1"]);
    let map = pairs(&[("X-A", "2"), ("Content-Length", "9")]);
    of_request(&mut stream).set_all(&map).unwrap();
    assert_eq!(all(&mut stream, RequestHeaders)[4..], map);
    assert_eq!(request.lines(), ["Content-Length: 5", "X-A: 2"]);
    // What is set as it is leaves the fields to the message.
    of_request(&mut stream).set_all(&pairs(&[("X-A", "2"), ("Content-Length", "5")])).unwrap();
    assert_eq!(all(&mut stream, RequestHeaders)[4..], pairs(&[("Content-Length", "5"), ("X-A", "2")]));
}

#[test]
fn framing_that_was_written_ends_with_its_transaction() {
    serve(&[("plain", &filter(""), true)], "");
    let request = Message::request("POST", "/").with("Content-Length", "5");
    let transaction = Exchange { origin_waits: true, ..with(request) }.start();
    let mut stream = StreamTransaction::new(&Access::in_memory(transaction));
    of_request(&mut stream).replace(b"Content-Length", b"7").unwrap();
    assert_eq!(header(&mut stream, RequestHeaders, "Content-Length"), Ok("7".into()));
    transaction.respond();
    assert!(transaction.is_over());
    assert_eq!(
        header(&mut stream, RequestHeaders, "Content-Length"),
        Ok("5".into()),
        "for the next of its name"
    );
}

#[test]
fn a_request_has_one_host_and_its_line_says_the_same() {
    let request = Message::request("GET", "http://here:81/a").with("Host", "here:81").with("X-A", "1");
    let (transaction, mut stream) = parked(with(request));
    of_request(&mut stream).add(b"host", b"there").unwrap();
    assert_eq!(
        (request.values("Host"), request.start_line().as_str()),
        (vec!["there".into()], "GET http://there/a")
    );
    of_request(&mut stream).set_all(&pairs(&[("X-A", "1"), ("HOST", "one"), ("host", "two")])).unwrap();
    assert_eq!(request.values("Host"), ["two"]);
    of_request(&mut stream)
        .set_all(&pairs(&[(":authority", "[::1]:82"), ("host", "three"), ("X-A", "1")]))
        .unwrap();
    assert_eq!(request.values("Host"), ["[::1]:82"], "the authority wins");
    assert_eq!(request.start_line(), "GET http://[::1]:82/a");
    of_request(&mut stream).replace(b":authority", b"other").unwrap();
    assert_eq!(
        (request.start_line().as_str(), request.values("Host")[0].as_str()),
        ("GET http://other/a", "other")
    );
    assert_eq!(transaction.request().handles(), 0);
}

#[test]
fn the_parts_of_a_start_line() {
    let request = Message::request("GET", "/a/b;c=1?d=2").with("Host", "example.com");
    let (_, mut stream) = parked(with(request));
    let expected = pairs(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/a/b;c=1?d=2"),
    ]);
    assert_eq!(all(&mut stream, RequestHeaders), expected);
    for (path, value) in [
        ("path", "/a/b;c=1?d=2"),
        ("url_path", "/a/b;c=1"),
        ("query", "d=2"),
        ("host", "example.com"),
        ("method", "GET"),
        ("scheme", "http"),
        ("protocol", "HTTP/1.1"),
    ] {
        assert_eq!(property(&mut stream, &format!("request.{path}")), Ok(value.into()), "{path}");
    }
    stream.set_property(&[b"request", b"query"], b"").unwrap();
    assert_eq!(request.start_line(), "GET /a/b;c=1");
    stream.set_property(&[b"request", b"url_path"], b"/e").unwrap();
    of_request(&mut stream).replace(b":method", b"PUT").unwrap();
    assert_eq!(request.start_line(), "PUT /e", "the parameters are the old path's");
    of_request(&mut stream).replace(b":path", b"/f?g").unwrap();
    assert_eq!(request.start_line(), "PUT /f?g");
}

#[test]
fn the_scheme_is_that_of_the_connection() {
    let tls = || vec![c"h2", c"tls/1.3", c"tcp", c"ipv4"];
    let (_, mut stream) = parked(Exchange { protocols: tls(), ..Exchange::new() });
    assert_eq!(header(&mut stream, RequestHeaders, ":scheme"), Ok("https".into()));
    assert_eq!(property(&mut stream, "request.protocol"), Ok("HTTP/2".into()));
    assert_eq!(property(&mut stream, "connection.tls_version"), Ok("TLSv1.3".into()));
    assert_eq!(property(&mut stream, "connection.requested_server_name"), Ok("example.com".into()));
    assert_eq!(property(&mut stream, "connection.mtls"), Ok(vec![0]));
    // The request's own line goes before.
    let request = Message::request("GET", "http://example.com/");
    let (_, mut stream) = parked(Exchange { protocols: tls(), ..with(request) });
    assert_eq!(header(&mut stream, RequestHeaders, ":scheme"), Ok("http".into()));
    let (_, mut stream) = parked(Exchange::new());
    assert_eq!(property(&mut stream, "connection.mtls"), Ok(vec![0]));
}

#[test]
fn addresses_sizes_and_times() {
    let (transaction, mut stream) = parked(Exchange::new());
    for (path, value) in [
        ("source.address", "192.0.2.1:1001"),
        ("destination.address", "192.0.2.2:1002"),
        ("upstream.local_address", "192.0.2.3:1003"),
        ("upstream.address", "192.0.2.4:1004"),
        ("upstream.tls_version", "TLSv1.2"),
    ] {
        assert_eq!(property(&mut stream, path), Ok(value.into()), "{path}");
    }
    for (path, port) in [
        ("source.port", 1001),
        ("destination.port", 1002),
        ("upstream.local_port", 1003),
        ("upstream.port", 1004),
    ] {
        assert_eq!(number(&mut stream, path), port, "{path}");
    }
    assert_eq!(number(&mut stream, "connection.id"), 1000 + transaction.number());
    let (head, body) = (REQUEST_BYTES.0 as u64, REQUEST_BYTES.1 as u64);
    assert_eq!(number(&mut stream, "request.size"), body, "of what came, without a length");
    assert_eq!(number(&mut stream, "request.total_size"), head + body);
    assert_eq!(number(&mut stream, "request.headers_bytes"), head);
    assert_eq!(number(&mut stream, "request.time"), STARTED as u64);
    assert!((1..1 << 60).contains(&number(&mut stream, "request.duration")));
    assert_eq!(property(&mut stream, "response.code"), Err(Status::NotFound), "there is none yet");
    assert_eq!(of_response(&mut stream).count(), Err(Status::BadArgument));
    let facts = stream.facts();
    assert_eq!((facts.method.as_str(), facts.path.as_str(), facts.client_port), ("GET", "/", 1001));
    assert_eq!(facts.client, Some([192, 0, 2, 1].into()));
}

#[test]
fn a_response_as_its_filters_see_it() {
    let text = filter(
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    );
    serve(&[("pausing", &text, true)], "limits: {pause: off}");
    let transaction = Transaction::start(false);
    assert_eq!(transaction.at(), At::Response);
    let mut stream = StreamTransaction::new(&Access::in_memory(transaction));
    assert_eq!(all(&mut stream, ResponseHeaders), pairs(&[(":status", "200"), ("Content-Length", "2")]));
    assert_eq!((number(&mut stream, "response.code"), number(&mut stream, "response.size")), (200, 2));
    let total = RESPONSE_BYTES.0 as u64 + RESPONSE_BYTES.1 as u64;
    assert_eq!(number(&mut stream, "response.total_size"), total);
    of_response(&mut stream).replace(b":status", b"403").unwrap();
    let response = transaction.response().unwrap();
    assert_eq!(response.start_line(), "403 Forbidden");
    of_response(&mut stream).replace(b":status", b"299").unwrap();
    assert_eq!(response.start_line(), "299", "not the reason of the one before");
    stream.set_property(&[b"response", b"code_details"], b"Of its own").unwrap();
    assert_eq!(response.start_line(), "299 Of its own");
    assert_eq!(property(&mut stream, "response.code_details"), Ok(b"Of its own".to_vec()));
    assert_eq!(property(&mut stream, "response.grpc_status"), Err(Status::NotFound));
    of_response(&mut stream).add(b"grpc-status", b"7").unwrap();
    assert_eq!(number(&mut stream, "response.grpc_status"), 7);
    // Only a request has one host.
    of_response(&mut stream).add(b"Host", b"a").unwrap();
    of_response(&mut stream).add(b"Host", b"b").unwrap();
    assert_eq!(response.values("Host"), ["a", "b"]);
    assert_eq!(response.handles(), 0);
}

/// Logs whether its stream ends with the headers.
const ENDS: &str = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $log (i32.add (i32.const 20) (local.get 2)) (i32.const 1)) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $log (i32.add (i32.const 20) (local.get 2)) (i32.const 1)) (i32.const 0))"#;

#[test]
fn streams_end_with_their_headers_when_no_body_follows() {
    let thread = serve(&[("ends", &filter(ENDS), true)], "");
    let get = || Message::request("GET", "/");
    let post = || Message::request("POST", "/");
    let ok = || Message::response(200).with("Content-Length", "2");
    for (request, response, expected) in [
        (get(), ok(), "10"),
        (post().with("Content-Length", "5"), ok(), "00"),
        (post().with("Content-Length", "0"), Message::response(200), "10"),
        (
            post().with("Transfer-Encoding", "chunked"),
            Message::response(200).with("Content-Length", "0"),
            "01",
        ),
        (get(), Message::response(204), "11"),
        (get(), Message::response(304).with("Content-Length", "9"), "11"),
        (Message::request("HEAD", "/"), ok(), "11"),
    ] {
        let before = thread.log().len();
        assert!(Exchange { response, ..with(request) }.start().is_over());
        let said: String = thread.log()[before..].iter().map(|line| line.chars().last().unwrap()).collect();
        assert_eq!(said, expected, "{} {:?}", request.start_line(), response.lines());
    }
}

/// The TLS library's own, in DER; each one that was taken is given back.
#[test]
fn certificates_are_those_of_the_connections() {
    let names = include_bytes!("../../../../tests/fixtures/certificates/names.der");
    let plain = include_bytes!("../../../../tests/fixtures/certificates/plain.der");
    let certificate = |der: &[u8]| Certificate::new(der.to_vec());
    let protocols = || vec![c"h2", c"tls/1.3", c"tcp", c"ipv4"];
    let (transaction, mut stream) = parked(Exchange { protocols: protocols(), ..Exchange::new() });
    assert!(transaction.client.certificates.set((certificate(plain), Some(certificate(names)))).is_ok());
    assert_eq!(property(&mut stream, "connection.mtls"), Ok(vec![1]));
    for (path, value) in [
        ("subject_local_certificate", "CN=plain"),
        ("dns_san_peer_certificate", "first.example.com"),
        ("uri_san_peer_certificate", "spiffe://example.com/a"),
        (
            "sha256_peer_certificate_digest",
            "818756db5151e545837c22e2433e7f23aee0271e7974ceac6fd0ae790a4de5ab",
        ),
    ] {
        assert_eq!(property(&mut stream, &format!("connection.{path}")), Ok(value.into()), "{path}");
    }
    let subject = property(&mut stream, "connection.subject_peer_certificate").unwrap();
    assert!(subject.starts_with(b"CN=client.example.com,"), "{subject:?}");
    for absent in ["dns_san_local_certificate", "uri_san_local_certificate", "subject_other_certificate"] {
        let absent = format!("connection.{absent}");
        assert_eq!(property(&mut stream, &absent), Err(Status::NotFound), "{absent}");
    }
    let (_, shown) = transaction.client.certificates.get().unwrap();
    assert_eq!(shown.as_ref().unwrap().given.load(Relaxed), 0);
    let upstream = "upstream.subject_peer_certificate";
    assert_eq!(property(&mut stream, upstream), Err(Status::NotFound), "there is no connection yet");
    // A client that has shown none.
    let (transaction, mut stream) = parked(Exchange { protocols: protocols(), ..Exchange::new() });
    assert!(transaction.client.certificates.set((certificate(plain), None)).is_ok());
    assert_eq!(property(&mut stream, "connection.mtls"), Ok(vec![0]));
    assert_eq!(property(&mut stream, "connection.sha256_peer_certificate_digest"), Err(Status::NotFound));
}

/// A filter that writes the map back leaves the request as it was, and one that names a host changes it.
#[test]
fn the_host_is_the_authority_and_is_listed_once() {
    for fields in [0, 100] {
        let request = Message::request("GET", "/").with("hOST", "example.com").with("X-A", "1");
        for number in 0..fields {
            request.with(&format!("x-{number}"), "1");
        }
        let (_, mut stream) = parked(with(request));
        let mut map = all(&mut stream, RequestHeaders);
        assert!(map.iter().all(|(name, _)| !name.eq_ignore_ascii_case(b"host")), "{map:?}");
        assert_eq!(
            header(&mut stream, RequestHeaders, "Host"),
            Ok("example.com".into()),
            "it can be asked for"
        );
        of_request(&mut stream).set_all(&map).unwrap();
        assert_eq!(request.values("Host"), ["example.com"]);
        map.retain(|(name, _)| name != b":authority");
        of_request(&mut stream).set_all(&map).unwrap();
        assert_eq!(request.values("Host"), ["example.com"], "a request keeps its host");
        map.push((b"host".to_vec(), b"there".to_vec()));
        of_request(&mut stream).set_all(&map).unwrap();
        assert_eq!(request.values("Host"), ["there"]);
        assert_eq!(header(&mut stream, RequestHeaders, ":authority"), Ok("there".into()));
        of_request(&mut stream).set_all(&[]).unwrap();
        assert_eq!((request.values("Host"), request.lines().len()), (vec!["there".to_owned()], 1));
    }
}

/// Nothing of the server holds them: they are found by all filters, and end with the transaction.
#[test]
fn properties_of_filters_own_are_the_transactions() {
    serve(&[("plain", &filter(""), true)], "");
    let transaction = Exchange { origin_waits: true, ..Exchange::new() }.start();
    let other = Exchange { origin_waits: true, ..Exchange::new() }.start();
    let stream = |transaction| StreamTransaction::new(&Access::in_memory(transaction));
    let found = |transaction| {
        let mut found = None;
        stream(transaction).own_properties(&mut |own| found = own.get(&[b"a", b"b"]).map(<[u8]>::to_vec));
        found
    };
    let set = |value: &[u8]| {
        let mut kept = false;
        stream(transaction).own_properties_mut(&mut |own| kept = own.set(&[b"a", b"b"], value, 100));
        kept
    };
    assert_eq!(found(transaction), None);
    assert!(set(b"1") && set(b"2") && !set(&[b'3'; 100]));
    assert_eq!((found(transaction), found(other)), (Some(b"2".to_vec()), None));
    transaction.respond();
    assert!(transaction.is_over());
    assert_eq!(found(transaction), None, "for the next of its name");
    other.respond();
}
