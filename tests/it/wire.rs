//! What a filter may put on the wire: every function × every field × every class of bytes, judged by the
//! bytes that the origin and the client get.

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::raw::{self, RawOrigin};
use wasmdbg_tests::scratch::Scratch;

use crate::calls::{self, BAD_ARGUMENT, Calls, NOT_FOUND, OK, REQUEST, RESPONSE, Said, Text};

/// A Traffic Server with the filter `calls` in front of a raw origin.
struct Proxy {
    ats: Ats,
    origin: RawOrigin,
    _folder: Scratch,
}

impl Proxy {
    fn start() -> Result<Self> {
        let folder = Scratch::new("wire")?;
        let origin = RawOrigin::start(|_| {
            let fields =
                "X-Kept: 1\r\nX-Two: a\r\nX-Two: b\r\nConnection: close\r\nCache-Control: no-store\r\n";
            format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes()
        })?;
        let ats = Ats::options()
            .origin("/o/", origin.address())
            // The origin sees what the filter made of the authority.
            .record("proxy.config.url_remap.pristine_host_hdr INT 1")
            .filter(calls::filter(&folder, "calls")?)
            .start()?;
        Ok(Self { ats, origin, _folder: folder })
    }

    /// One request: the response's bytes, and those that the origin got.
    fn exchange(&self, of_request: &Calls, of_response: &Calls) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let more = "X-Kept: 1\r\nX-Two: a\r\nX-Two: b\r\n";
        let request = calls::request("GET /o/page?q=1", of_request, of_response, more);
        let response = raw::exchange(self.ats.address(), &request)?;
        Ok((response, self.origin.take()?))
    }
}

/// What is put between the two halves of a value.
const INSERTS: [&[u8]; 22] = [
    b"\0",
    b"\x01",
    b"\t",
    b"\n",
    b"\r",
    b"\x1f",
    b" ",
    b"\x7f",
    b"\r\nx-injected: 1",
    b"\nx-injected: 1",
    b" HTTP/1.1\r\nHost: here\r\n\r\nGET /smuggled HTTP/1.1\r\nx-injected: 1",
    b"#",
    b"/",
    b"?",
    b"@",
    b":",
    b"\\",
    b"\"",
    b"a",
    b"%0a",
    b"\x80",
    b"\xff",
];

/// A part of a message, and what its value may contain.
struct Field {
    map: u16,
    /// Its name in a header map; none when it is a property alone.
    name: Option<&'static str>,
    /// Its path as a property, if it has one.
    property: &'static [&'static [u8]],
    halves: (&'static str, &'static str),
    /// The inserts that pass.
    allowed: &'static [&'static [u8]],
}

const OF_TARGET: &[&[u8]] = &[b"/", b"?", b"@", b":", b"\\", b"\"", b"a", b"%0a", b"\x80", b"\xff"];
const OF_PATH: &[&[u8]] = &[b"/", b"@", b":", b"\\", b"\"", b"a", b"%0a", b"\x80", b"\xff"];
const OF_HOST: &[&[u8]] = &[b":", b"a", b"%0a"];
const OF_VALUE: &[&[u8]] =
    &[b"\t", b" ", b"#", b"/", b"?", b"@", b":", b"\\", b"\"", b"a", b"%0a", b"\x80", b"\xff"];

#[rustfmt::skip]
const FIELDS: [Field; 10] = [
    Field { map: REQUEST, name: Some(":method"), property: &[b"request", b"method"], halves: ("GE", "T"), allowed: &[b"#", b"a", b"%0a"] },
    Field { map: REQUEST, name: Some(":path"), property: &[b"request", b"path"], halves: ("/o/a", "b"), allowed: OF_TARGET },
    Field { map: REQUEST, name: Some(":path"), property: &[b"request", b"path"], halves: ("/o/a?b", "c"), allowed: OF_TARGET },
    Field { map: REQUEST, name: None, property: &[b"request", b"url_path"], halves: ("/o/a", "b"), allowed: OF_PATH },
    Field { map: REQUEST, name: None, property: &[b"request", b"query"], halves: ("b", "c"), allowed: OF_TARGET },
    Field { map: REQUEST, name: Some(":authority"), property: &[b"request", b"host"], halves: ("h", "1"), allowed: OF_HOST },
    Field { map: REQUEST, name: Some("host"), property: &[b"request", b"headers", b"host"], halves: ("h", "1"), allowed: OF_HOST },
    Field { map: REQUEST, name: Some(":scheme"), property: &[b"request", b"scheme"], halves: ("http", ""), allowed: &[] },
    Field { map: REQUEST, name: Some("x-new"), property: &[b"request", b"headers", b"x-new"], halves: ("a", "b"), allowed: OF_VALUE },
    Field { map: RESPONSE, name: Some("x-new"), property: &[b"response", b"headers", b"x-new"], halves: ("a", "b"), allowed: OF_VALUE },
];

/// The ways to write `value`.
const FUNCTIONS: usize = 4;

fn write(calls: Calls, function: usize, field: &Field, value: &[u8]) -> Option<Calls> {
    Some(match (function, field.name) {
        (0, Some(name)) => calls.add(field.map, name, value),
        (1, Some(name)) => calls.replace(field.map, name, value),
        // The map is refused for its last pair, and keeps all that it has.
        (2, Some(name @ (":authority" | "host"))) => {
            calls.set_pairs(field.map, &[(b"x-before", b"1"), (name.as_bytes(), value)])
        }
        (2, Some(name)) => {
            calls.set_pairs(field.map, &[(b"x-before", b"1"), (b"host", b"here"), (name.as_bytes(), value)])
        }
        (3, _) => calls.set_property(field.property, value),
        _ => return None,
    })
}

/// Both halves of one exchange are as if no filter had touched them.
fn untouched(response: &[u8], origin: &[Vec<u8>]) -> Result<()> {
    let [request] = origin else { anyhow::bail!("the origin has {} connections", origin.len()) };
    let (head, rest) = raw::split(request).context("a request")?;
    ensure!(rest.is_empty(), "more than a request");
    ensure!(head.starts_with(b"GET /page?q=1 HTTP/1.1\r\nHost: here\r\n"), "another start");
    let (answer, body) = raw::split(response).context("a response")?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && body == b"ok", "another response");
    for head in [head, answer] {
        let field = |name| raw::field(head, name);
        ensure!(
            field("x-kept").as_deref() == Some("1") && field("x-two").as_deref() == Some("a,b"),
            "fields"
        );
        ensure!(
            field("x-before").is_none() && field("x-new").is_none() && field("x-injected").is_none(),
            "new fields"
        );
    }
    Ok(())
}

/// No line of a head has a control byte, and the start line has its words: `GET /path HTTP/1.1`.
fn well_formed(head: &[u8]) -> Result<()> {
    let text = head.escape_ascii().to_string();
    for line in text.split("\\r\\n") {
        let control = line.match_indices("\\x").any(|(at, _)| matches!(&line[at + 2..at + 3], "0" | "1"));
        ensure!(
            !control && !line.contains("\\x7f") && !line.contains("\\r") && !line.contains("\\n"),
            "{line}"
        );
    }
    let first = text.split("\\r\\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let right = match words[..] {
        [version, status, ..] if version.starts_with("HTTP/1.") => status.len() == 3,
        [method, target, "HTTP/1.1"] => !method.is_empty() && target.starts_with('/'),
        _ => false,
    };
    ensure!(right, "{first}");
    Ok(())
}

#[test]
fn no_function_lets_a_field_end_before_its_end() -> Result<()> {
    let proxy = Proxy::start()?;
    let mut passed = 0;
    for field in &FIELDS {
        for function in 0..FUNCTIONS {
            let (front, back) = field.halves;
            let value = |insert: &[u8]| [front.as_bytes(), insert, back.as_bytes()].concat();
            let (good, bad): (Vec<&[u8]>, Vec<&[u8]>) =
                INSERTS.iter().partition(|insert| field.allowed.contains(insert));
            let exchange = |calls: &Calls| match field.map {
                REQUEST => proxy.exchange(calls, &Calls::default()),
                _ => proxy.exchange(&Calls::default(), calls),
            };
            let said = |response: &[u8]| match field.map {
                REQUEST => Said::of_request(response),
                _ => Said::of_response(response),
            };
            let case =
                || format!("{:?}, function {function}", String::from_utf8_lossy(&field.property.join(&b'.')));
            // All that is refused, in one request: it stays what it was.
            let list = bad
                .iter()
                .try_fold(Calls::default(), |calls, insert| write(calls, function, field, &value(insert)));
            let Some(list) = list else { continue };
            let (response, origin) = exchange(&list)?;
            let seen = || {
                format!(
                    "{}: {:?}, {:?}",
                    case(),
                    Bytes(&response),
                    origin.iter().map(|b| Bytes(b)).collect::<Vec<_>>()
                )
            };
            assert_eq!(
                said(&response).with_context(seen)?.statuses(),
                vec![BAD_ARGUMENT; bad.len()],
                "{}",
                seen()
            );
            untouched(&response, &origin).with_context(seen)?;
            // Each that passes, in one of its own.
            for insert in good {
                let value = value(insert);
                let calls = write(Calls::default(), function, field, &value).context("a call")?;
                let (response, origin) = exchange(&calls)?;
                let seen = || {
                    format!(
                        "{}, {:?}: {:?}, {:?}",
                        case(),
                        Bytes(insert),
                        Bytes(&response),
                        origin.iter().map(|b| Bytes(b)).collect::<Vec<_>>()
                    )
                };
                let (answer, _) = raw::split(&response).with_context(seen)?;
                well_formed(answer).with_context(seen)?;
                ensure!(origin.len() <= 1, "two requests: {}", seen());
                for request in origin.iter() {
                    let (head, rest) = raw::split(request).with_context(seen)?;
                    well_formed(head).with_context(seen)?;
                    ensure!(rest.is_empty(), "{}", seen());
                }
                // Only the server itself may refuse it: an authority or a method that it does not know.
                if !origin.is_empty() {
                    assert_eq!(said(&response).with_context(seen)?.statuses(), [OK], "{}", seen());
                    let head = if field.map == REQUEST { &origin[0][..] } else { answer };
                    let goes_out = match field.name {
                        Some(":path") | None => value.strip_prefix(b"/o").unwrap_or(&value),
                        _ => &value,
                    };
                    ensure!(head.windows(goes_out.len()).any(|bytes| bytes == goes_out), "cut: {}", seen());
                    passed += 1;
                }
            }
        }
    }
    // The matrix is not empty.
    ensure!(passed > 150, "{passed} passed");
    Ok(())
}

/// Bytes of the wire in a message of a test.
struct Bytes<'a>(&'a [u8]);

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[test]
fn names_are_tokens_and_statuses_are_of_a_final_response() -> Result<()> {
    let proxy = Proxy::start()?;
    for map in [REQUEST, RESPONSE] {
        let property: &[u8] = if map == REQUEST { b"request" } else { b"response" };
        let mut refused = Calls::default();
        let mut expected = Vec::new();
        for insert in INSERTS.iter().filter(|insert| !matches!(**insert, b"a" | b"#" | b"%0a")) {
            let name = [b"x-new", *insert, b"b"].concat();
            refused = refused
                .add(map, &name, "1")
                .replace(map, &name, "1")
                .set_pairs(map, &[(b"x-before", b"1"), (&name, b"1")])
                .set_property(&[property, b"headers", &name], "1");
            // A zero byte ends a part of a property's path.
            let as_property = if insert.contains(&0) { NOT_FOUND } else { BAD_ARGUMENT };
            expected.extend([BAD_ARGUMENT, BAD_ARGUMENT, BAD_ARGUMENT, as_property]);
        }
        for value in [
            "", "0", "99", "100", "101", "199", "600", "999", "2000", "+20", " 200", "200 x", "2\r\n", "204",
            "304",
        ] {
            if map == REQUEST {
                continue;
            }
            let calls = refused.add(map, ":status", value).replace(map, ":status", value);
            refused = calls
                .set_pairs(map, &[(b"x-before", b"1"), (b":status", value.as_bytes())])
                .set_property(&[b"response", b"code"], value);
            expected.extend([BAD_ARGUMENT; 4]);
        }
        let (response, origin) = match map {
            REQUEST => proxy.exchange(&refused, &Calls::default())?,
            _ => proxy.exchange(&Calls::default(), &refused)?,
        };
        let said = if map == REQUEST { Said::of_request(&response)? } else { Said::of_response(&response)? };
        assert_eq!(said.statuses(), expected, "map {map}");
        untouched(&response, &origin)?;
    }
    Ok(())
}

#[test]
fn what_the_server_would_cut_is_refused() -> Result<()> {
    let proxy = Proxy::start()?;
    const NAME: u32 = 65_536;
    const VALUE: u32 = 1 << 24;
    let (name, value) = (Text::Times(NAME, b'n'), Text::Times(VALUE, b'v'));
    let refused = |map: u16| {
        Calls::default()
            .add(map, name, "1")
            .replace(map, name, "1")
            .add(map, "x-new", value)
            .replace(map, "x-new", value)
            // What reads back and does not go out is kept in memory of ours.
            .add(map, "connection", name)
            .replace(map, "connection", name)
    };
    let of_request = refused(REQUEST)
        .replace(REQUEST, ":method", name)
        .replace(REQUEST, ":authority", name)
        .replace(REQUEST, ":path", Text::Times(NAME, b'/'))
        .set_property(&[b"request", b"path"], Text::Times(NAME, b'/'))
        .set_property(&[b"request", b"url_path"], Text::Times(NAME, b'/'))
        .set_property(&[b"request", b"query"], name);
    let (response, origin) = proxy.exchange(&of_request, &refused(RESPONSE))?;
    assert_eq!(Said::of_request(&response)?.statuses(), [BAD_ARGUMENT; 12]);
    assert_eq!(Said::of_response(&response)?.statuses(), [BAD_ARGUMENT; 6]);
    untouched(&response, &origin)?;
    // One byte less goes out whole.
    let longest = Calls::default().add(REQUEST, Text::Times(NAME - 1, b'n'), "whole");
    let (response, origin) = proxy.exchange(&longest, &Calls::default())?;
    assert_eq!(Said::of_request(&response)?.statuses(), [OK]);
    let line = [&b"\r\n"[..], &vec![b'n'; NAME as usize - 1], b": whole\r\n"].concat();
    let request = origin.first().context("the origin was asked")?;
    assert!(request.windows(line.len()).any(|bytes| bytes == line), "{} bytes", request.len());
    Ok(())
}

#[test]
fn local_responses_have_no_line_of_others_and_no_framing_of_their_own() -> Result<()> {
    let proxy = Proxy::start()?;
    // A local response may have 64 fields.
    let good = INSERTS.chunks(16).map(|inserts| check_local_responses(&proxy, inserts));
    assert_eq!(good.sum::<Result<usize>>()?, OF_VALUE.len());
    Ok(())
}

/// Answers a request and a response, with fields that have `inserts` in them. Gives the number of those with a
/// good value that go out.
fn check_local_responses(proxy: &Proxy, inserts: &[&[u8]]) -> Result<usize> {
    let mut good = 0;
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for insert in inserts.iter().copied() {
        headers.push(([b"x-bad", insert, b"b"].concat(), b"1".to_vec()));
        headers.push((b"x-value".to_vec(), [b"a", insert, b"b"].concat()));
        headers.push((b"content-type".to_vec(), [b"text/", insert].concat()));
    }
    let own: [(&[u8], &[u8]); 12] = [
        (b"Content-Length", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"x-good"),
        (b"Keep-Alive", b"timeout=1"),
        (b"Proxy-Connection", b"close"),
        (b":status", b"200"),
        (b":path", b"/"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"Server", b"of the filter"),
        (b"x-good", b"1"),
        (b"Content-Type", b"text/good"),
    ];
    let mut headers: Vec<(&[u8], &[u8])> =
        headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    headers.extend(own);
    let answer = Calls::default().respond(403, &headers, "five!");
    for (of_request, of_response) in [(&answer, &Calls::default()), (&Calls::default(), &answer)] {
        let (response, _) = proxy.exchange(of_request, of_response)?;
        let (head, body) = raw::split(&response).context("a response")?;
        assert_eq!(body, b"five!", "{:?}", Bytes(&response));
        well_formed(head)?;
        assert!(head.starts_with(b"HTTP/1.1 403 "), "{:?}", Bytes(head));
        let field = |name| raw::field(head, name);
        assert_eq!(field("content-length").as_deref(), Some("5"), "{:?}", Bytes(head));
        for absent in ["transfer-encoding", "keep-alive", "proxy-connection", "x-injected"] {
            assert_eq!(field(absent), None, "{absent}: {:?}", Bytes(head));
        }
        assert!(!head.windows(3).any(|bytes| bytes == b"\r\n:"), "a pseudo-header: {:?}", Bytes(head));
        assert_eq!(field("connection").as_deref(), Some("close"));
        assert_eq!(field("content-type").as_deref(), Some("text/good"));
        // The server keeps no other field of an answer to a response.
        if std::ptr::eq(of_response, &answer) {
            continue;
        }
        assert_eq!(field("set-cookie").as_deref(), Some("a=1,b=2"), "both, a line each");
        assert_eq!(String::from_utf8_lossy(head).matches("\r\nSet-Cookie: ").count(), 2);
        assert_eq!(
            (field("x-good").as_deref(), field("server").as_deref()),
            (Some("1"), Some("of the filter"))
        );
        // Those with a good value are there, in their order.
        good = field("x-value").map_or(0, |values| values.split(',').count());
    }
    Ok(good)
}

#[test]
fn repeated_fields_are_removed_and_replaced_together() -> Result<()> {
    let proxy = Proxy::start()?;
    let change = |map: u16| {
        Calls::default()
            .remove(map, "x-two")
            .add(map, "x-more", "1")
            .add(map, "x-more", "2")
            .add(map, "x-more", "3")
            .replace(map, "X-More", "9")
            .get(map, "x-two")
            .get(map, "x-more")
    };
    let (response, origin) = proxy.exchange(&change(REQUEST), &change(RESPONSE))?;
    for said in [Said::of_request(&response)?, Said::of_response(&response)?] {
        assert_eq!(said.statuses(), [OK, OK, OK, OK, OK, NOT_FOUND, OK]);
        assert_eq!(said.text(6), (OK, "9".into()));
    }
    for message in [&response, origin.first().context("the origin was asked")?] {
        let (head, _) = raw::split(message).context("a message")?;
        assert_eq!(raw::field(head, "x-two"), None, "{:?}", Bytes(head));
        assert_eq!(raw::field(head, "x-more").as_deref(), Some("9"), "{:?}", Bytes(head));
    }
    Ok(())
}

#[test]
fn a_request_has_one_host() -> Result<()> {
    let proxy = Proxy::start()?;
    let ways = [
        Calls::default().add(REQUEST, "Host", "there"),
        Calls::default().set_pairs(REQUEST, &[(b"host", b"here"), (b"HOST", b"there")]),
        Calls::default().set_pairs(REQUEST, &[(b":authority", b"there"), (b"host", b"here")]),
    ];
    for calls in ways {
        let (response, origin) =
            proxy.exchange(&calls.get(REQUEST, ":authority").get(REQUEST, "host"), &Calls::default())?;
        let said = Said::of_request(&response)?;
        assert_eq!(said.statuses(), [OK; 3]);
        assert_eq!((said.text(1).1.as_str(), said.text(2).1.as_str()), ("there", "there"));
        let (head, _) = raw::split(origin.first().context("the origin was asked")?).context("a request")?;
        assert_eq!(raw::field(head, "host").as_deref(), Some("there"), "{:?}", Bytes(head));
    }
    Ok(())
}

/// A filter that writes back the map that it has read changes nothing, whatever the client sent.
#[test]
fn a_map_may_be_written_back() -> Result<()> {
    let folder = Scratch::new("wire")?;
    let origin = RawOrigin::start(|_| {
        b"HTTP/1.1 299 Odd\r\nX@Odd: 1\r\nX-Two: a\r\nX-Two: b\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()
    })?;
    let ats = Ats::options()
        .origin("/o/", origin.address())
        .record("proxy.config.url_remap.pristine_host_hdr INT 1")
        // The server lets control bytes of a client's URL through.
        .record("proxy.config.http.strict_uri_parsing INT 0")
        .filter(calls::filter(&folder, "calls")?)
        .start()?;
    let line = "GET /o/*;p=1/\u{1}?x=\u{1}y";
    let read = Calls::default().pairs(REQUEST);
    let read = raw::exchange(
        ats.address(),
        &calls::request(line, &read, &Calls::default().pairs(RESPONSE), "X@: 1\r\n"),
    )?;
    let written_back = |said: &Said, map: u16| {
        let pairs = said.pairs(0);
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        Calls::default().set_pairs(map, &pairs).pairs(map)
    };
    let (of_request, of_response) = (Said::of_request(&read)?, Said::of_response(&read)?);
    assert!(
        of_request.pairs(0).contains(&(":path".into(), "/o/*;p=1/\u{1}?x=\u{1}y".into())),
        "{of_request:?}"
    );
    let before = origin.take()?;
    let calls = (written_back(&of_request, REQUEST), written_back(&of_response, RESPONSE));
    let response = raw::exchange(ats.address(), &calls::request(line, &calls.0, &calls.1, "X@: 1\r\n"))?;
    let seen = || format!("{:?} {:?}", Bytes(&response), Bytes(&read));
    for said in [Said::of_request(&response)?, Said::of_response(&response)?] {
        assert_eq!(said.statuses(), [OK, OK], "{}", seen());
    }
    let sorted = |mut pairs: Vec<(String, String)>| {
        pairs.retain(|(name, _)| !name.eq_ignore_ascii_case("date") && !name.eq_ignore_ascii_case("age"));
        pairs.sort();
        pairs
    };
    assert_eq!(sorted(Said::of_request(&response)?.pairs(1)), sorted(of_request.pairs(0)));
    assert_eq!(sorted(Said::of_response(&response)?.pairs(1)), sorted(of_response.pairs(0)));
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<String> =
            String::from_utf8_lossy(bytes).split("\r\n").map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let after = origin.take()?;
    assert_eq!(lines(&after[0]), lines(&before[0]), "one Host, and nothing else new");
    Ok(())
}
