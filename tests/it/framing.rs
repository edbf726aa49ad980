//! Where a message ends is the server's: what filters write into the fields that say so reads back, and
//! changes nothing for the client, for the origin, or for the next request of the connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use wasmdbg_tests::ats::Ats;
use wasmdbg_tests::http::{Connection, Request};
use wasmdbg_tests::raw::{self, RawOrigin};
use wasmdbg_tests::scratch::{PATIENCE, Scratch};
use wasmdbg_tests::wasmdbg::Wasmdbg;

use crate::calls::{self, BAD_ARGUMENT, Calls, NOT_FOUND, OK, REQUEST, RESPONSE, Said};

/// The filter `calls` in front of a raw origin: `/o/chunked` is answered in chunks.
struct Proxy {
    server: Server,
    origin: RawOrigin,
    _folder: Scratch,
}

enum Server {
    /// With a second filter, `other`.
    Ats(Box<Ats>),
    /// `wasmdbg run`, which ends when dropped.
    Small(SocketAddr, #[expect(dead_code, reason = "only kept")] Wasmdbg),
}

impl Proxy {
    fn ats() -> Result<Self> {
        Self::start(|folder, origin| {
            let ats = Ats::options()
                .origin("/o/", origin)
                .filter(calls::filter(folder, "calls")?)
                .filter(calls::filter(folder, "other")?)
                .start()?;
            Ok(Server::Ats(Box::new(ats)))
        })
    }

    fn small() -> Result<Self> {
        Self::start(|folder, origin| {
            let module = calls::module(folder, "calls")?.display().to_string();
            let upstream = format!("http://{origin}");
            let arguments = ["run", &module, "--listen", "127.0.0.1:0", "--batch", "--when", "path:/nobody"];
            let mut wasmdbg = Wasmdbg::start(&[&arguments[..], &["--upstream", &upstream]].concat())?;
            let said = wasmdbg.expect("listening at http://")?;
            let address = said.rsplit_once("http://").context("an address")?.1.trim().parse()?;
            Ok(Server::Small(address, wasmdbg))
        })
    }

    fn both() -> Result<[Self; 2]> {
        Ok([Self::ats()?, Self::small()?])
    }

    fn start(server: impl FnOnce(&Scratch, SocketAddr) -> Result<Server>) -> Result<Self> {
        let folder = Scratch::new("framing")?;
        let origin = RawOrigin::start(|request| {
            let fields = "Connection: close\r\nCache-Control: no-store\r\n";
            let framed = if request.windows(8).any(|bytes| bytes == b"/chunked") {
                "Transfer-Encoding: chunked\r\n\r\n5\r\nfive!\r\n0\r\n\r\n"
            } else if request.starts_with(b"HEAD") {
                "Content-Length: 5\r\n\r\n"
            } else if request.windows(6).any(|bytes| bytes == b"/empty") {
                "Content-Length: 0\r\n\r\n"
            } else {
                "Content-Length: 5\r\n\r\nfive!"
            };
            format!("HTTP/1.1 200 OK\r\n{fields}{framed}").into_bytes()
        })?;
        Ok(Self { server: server(&folder, origin.address())?, origin, _folder: folder })
    }

    fn address(&self) -> SocketAddr {
        match &self.server {
            Server::Ats(ats) => ats.address(),
            Server::Small(address, _) => *address,
        }
    }
}

/// Every way to break the framing of a message: none may.
fn breaks(map: u16) -> Vec<Calls> {
    let property: &[u8] = if map == REQUEST { b"request" } else { b"response" };
    let new = Calls::default;
    vec![
        new().remove(map, "content-length"),
        new().replace(map, "Content-Length", "1"),
        new().replace(map, "content-length", "100"),
        new().replace(map, "content-length", "nonsense"),
        new().add(map, "content-length", "1"),
        new().remove(map, "transfer-encoding"),
        new().replace(map, "transfer-encoding", "chunked"),
        new().add(map, "Transfer-Encoding", "gzip"),
        new().remove(map, "transfer-encoding").replace(map, "content-length", "3"),
        new().set_pairs(map, &[(b"host", b"here")]),
        new().set_pairs(
            map,
            &[(b"host", b"here"), (b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        ),
        new().set_property(&[property, b"headers", b"content-length"], "1"),
        new().set_property(&[property, b"headers", b"transfer-encoding"], "chunked"),
        new().replace(map, "connection", "close"),
        new().replace(map, "connection", "content-length"),
        new().replace(map, "proxy-connection", "close"),
        new().replace(map, "keep-alive", "timeout=1"),
        new().remove(map, "connection"),
    ]
}

#[test]
fn responses_end_where_they_did() -> Result<()> {
    Proxy::both()?.iter().try_for_each(responses_end)
}

fn responses_end(proxy: &Proxy) -> Result<()> {
    // One connection for all: what is left of a response is read as the next one.
    let mut kept = Connection::open(proxy.address(), PATIENCE)?;
    for calls in breaks(RESPONSE) {
        for path in ["/o/page", "/o/chunked", "/o/empty"] {
            let response = kept.exchange(&Request::get(path).header("calls-response", &calls.hex()))?;
            let seen = format!("{path} {calls:?}: {response:?}");
            assert_eq!(response.status, 200, "{seen}");
            assert_eq!(response.text(), if path == "/o/empty" { "" } else { "five!" }, "{seen}");
            let said = Said::parse(response.header("said-calls-response").context("said")?)?;
            assert!(said.statuses().iter().all(|status| *status == OK), "{seen}");
            let (length, chunked) = (response.header("content-length"), response.header("transfer-encoding"));
            assert!(length.is_some() != chunked.is_some(), "one of the two: {seen}");
            assert!(matches!(response.header("connection"), None | Some("keep-alive")), "{seen}");
            assert_eq!(response.header("keep-alive"), None, "{seen}");
            assert_eq!(response.header("proxy-connection"), None, "{seen}");
        }
    }
    // Others that say whether a body follows.
    let refused = Calls::default()
        .replace(RESPONSE, ":status", "100")
        .replace(RESPONSE, ":status", "101")
        .replace(RESPONSE, ":status", "199")
        .replace(RESPONSE, ":status", "204")
        .replace(RESPONSE, ":status", "304");
    let of_request =
        Calls::default().replace(REQUEST, ":method", "HEAD").replace(REQUEST, ":method", "CONNECT");
    let request =
        Request::get("/o/page").header("calls-response", &refused.hex()).header("calls", &of_request.hex());
    let response = kept.exchange(&request)?;
    assert_eq!((response.status, response.text().as_str()), (200, "five!"));
    assert_eq!(
        Said::parse(response.header("said-calls-response").context("said")?)?.statuses(),
        [BAD_ARGUMENT; 5]
    );
    assert_eq!(Said::parse(response.header("said-calls").context("said")?)?.statuses(), [BAD_ARGUMENT; 2]);
    // A response that has no body has none when a filter gives it one.
    for status in [204, 304] {
        let answer = Calls::default().respond(status, &[], "a body");
        assert_eq!(kept.exchange(&Request::get("/o/page").header("calls", &answer.hex()))?.status, status);
    }
    assert_eq!(kept.exchange(&Request::get("/o/page"))?.text(), "five!", "the connection is in step");
    Ok(())
}

#[test]
fn responses_to_head_have_the_length_and_no_body() -> Result<()> {
    Proxy::both()?.iter().try_for_each(responses_to_head_end)
}

fn responses_to_head_end(proxy: &Proxy) -> Result<()> {
    for calls in breaks(RESPONSE) {
        let head = format!("HEAD /o/page HTTP/1.1\r\nHost: here\r\ncalls-response: {}\r\n\r\n", calls.hex());
        let get = "GET /o/page HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        let came = raw::exchange(proxy.address(), (head + get).as_bytes())?;
        let seen = came.escape_ascii().to_string();
        let (first, rest) = raw::split(&came).context("a response")?;
        assert_eq!(raw::field(first, "content-length").as_deref(), Some("5"), "{seen}");
        let (second, body) = raw::split(rest).with_context(|| seen.clone())?;
        assert!(second.starts_with(b"HTTP/1.1 200 OK\r\n") && body == b"five!", "{seen}");
    }
    Ok(())
}

#[test]
fn requests_end_where_they_did() -> Result<()> {
    Proxy::both()?.iter().try_for_each(requests_end)
}

fn requests_end(proxy: &Proxy) -> Result<()> {
    let bodies = [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("", ""),
    ];
    for calls in breaks(REQUEST) {
        for (framing, body) in bodies {
            let method = if body.is_empty() { "GET" } else { "PUT" };
            let put = format!(
                "{method} /o/put HTTP/1.1\r\nHost: here\r\ncalls: {}\r\n{framing}\r\n{body}",
                calls.hex()
            );
            let get = "GET /o/next HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
            let came = raw::exchange(proxy.address(), (put + get).as_bytes())?;
            let mut origin = proxy.origin.take()?;
            // In the order of their paths: they end in any.
            origin.sort_by_key(|bytes| bytes.windows(5).any(|bytes| bytes == b"/next"));
            let seen = format!(
                "{framing}{calls:?}: {} {:?}",
                came.escape_ascii(),
                origin.iter().map(|bytes| bytes.escape_ascii().to_string()).collect::<Vec<_>>()
            );
            let (first, rest) = raw::split(&came).context("a response")?;
            assert!(
                first.starts_with(b"HTTP/1.1 200 OK\r\n") && rest.starts_with(b"five!HTTP/1.1 200 OK\r\n"),
                "{seen}"
            );
            assert!(Said::of_request(&came)?.statuses().iter().all(|status| *status == OK), "{seen}");
            let [put, next] = &origin[..] else { anyhow::bail!("two requests: {seen}") };
            let (head, got) = raw::split(put).context("a request")?;
            assert_eq!(got, body.as_bytes(), "{seen}");
            let (length, coding) =
                (raw::field(head, "content-length"), raw::field(head, "transfer-encoding"));
            let expected = match framing.split(':').next() {
                Some("Content-Length") => (Some("5"), None),
                Some("Transfer-Encoding") => (None, Some("chunked")),
                _ => (None, None),
            };
            assert_eq!((length.as_deref(), coding.as_deref()), expected, "{seen}");
            for absent in ["connection", "proxy-connection", "keep-alive"] {
                assert_eq!(raw::field(head, absent), None, "{absent}: {seen}");
            }
            assert!(next.windows(16).any(|bytes| bytes == b"/next HTTP/1.1\r\n"), "{seen}");
        }
    }
    Ok(())
}

/// Within a callback, in a later one, and for the next filter of the chain; not for the next transaction.
#[test]
fn what_was_written_reads_back() -> Result<()> {
    reads_back(&Proxy::ats()?)
}

/// The first filter's calls come from the thread of a slot, the second's from the event thread.
#[test]
fn what_was_written_reads_back_in_the_debug_lane() -> Result<()> {
    let proxy = Proxy::ats()?;
    let Server::Ats(ats) = &proxy.server else { anyhow::bail!("Traffic Server") };
    let mut session =
        Wasmdbg::start(&["attach", &ats.pid().to_string(), "--batch", "--filter", "calls", "--all"])?;
    session.ask("info filters", "debug info")?;
    reads_back(&proxy)?;
    let debugged = crate::state::Proxy::of(ats)?.counter("calls", "debug_contexts")?;
    ensure!(debugged > 3, "{debugged} contexts in the debug lane");
    Ok(())
}

fn reads_back(proxy: &Proxy) -> Result<()> {
    let read =
        |map: u16| Calls::default().get(map, "content-length").get(map, "transfer-encoding").pairs(map);
    let write = |map: u16| {
        Calls::default()
            .get(map, "content-length")
            .remove(map, "Content-Length")
            .get(map, "content-length")
            .pairs(map)
            .replace(map, "content-length", "7")
            .add(map, "Content-Length", "8")
            .replace(map, "transfer-encoding", "gzip")
            .get(map, "content-length")
            .get(map, "Transfer-Encoding")
            .pairs(map)
    };
    let property = Calls::default().property("request.headers.content-length").property("request.size");
    let lengths = |pairs: &[(String, String)]| {
        let framing = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        framing.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let post = |more: &str| {
        format!(
            "POST /o/post HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5\r\n{more}\r\nhello"
        )
    };
    let own = |map: u16, said: &Said, before: u32| -> Result<()> {
        let expected = [OK, OK, NOT_FOUND, OK, OK, OK, OK, OK, OK, OK];
        assert_eq!(said.statuses(), expected, "map {map}: {said:?}");
        assert_eq!(said.text(0), (OK, "5".into()));
        assert_eq!(lengths(&said.pairs(3)), [""; 0]);
        assert_eq!(said.pairs(3).len() as u32 + 1, before, "one field less");
        assert_eq!(said.text(7), (OK, "7,8".into()));
        assert_eq!(said.text(8), (OK, "gzip".into()));
        assert_eq!(lengths(&said.pairs(9)), ["7", "8"]);
        Ok(())
    };
    let next = |said: &Said| {
        assert_eq!(said.statuses(), [OK; 3], "{said:?}");
        assert_eq!((said.text(0).1.as_str(), said.text(1).1.as_str()), ("7,8", "gzip"));
        assert_eq!(lengths(&said.pairs(2)), ["7", "8"]);
        assert_eq!(said.headers as usize, said.pairs(2).len(), "the count is of what is listed");
    };

    // Requests go to `calls` first.
    let more = format!(
        "calls: {}\r\nother: {}\r\ncalls-response: {}\r\nother-response: {}\r\n",
        write(REQUEST).hex(),
        read(REQUEST).hex(),
        property.hex(),
        read(REQUEST).hex()
    );
    let response = raw::exchange(proxy.address(), post(&more).as_bytes())?;
    let said = Said::of_request(&response)?;
    // Both lists of `calls` are gone when it lists its map.
    own(REQUEST, &said, said.headers - 2)?;
    // `other` takes its own two away.
    let mut other = Said::field(&response, "said-other")?;
    other.headers -= 2;
    next(&other);
    let mut later = Said::field(&response, "said-other-response")?;
    later.headers = later.pairs(2).len() as u32;
    next(&later);
    let properties = Said::of_response(&response)?;
    assert_eq!(properties.text(0), (OK, "7,8".into()));
    assert_eq!(properties.results[1], (OK, 5_u64.to_le_bytes().to_vec()), "the size is that of the body");

    // Responses go to `other` first.
    let more =
        format!("other-response: {}\r\ncalls-response: {}\r\n", write(RESPONSE).hex(), read(RESPONSE).hex());
    let response = raw::exchange(proxy.address(), post(&more).as_bytes())?;
    let said = Said::field(&response, "said-other-response")?;
    own(RESPONSE, &said, said.headers)?;
    // `other` adds what it says: two fields.
    next(&Said::of_response(&response)?);

    // A map that is set as a whole, and the next transaction.
    let whole = Calls::default()
        .set_pairs(REQUEST, &[(b"host", b"here"), (b"content-length", b"9")])
        .get(REQUEST, "content-length");
    let gone = Calls::default().set_pairs(REQUEST, &[(b"host", b"here")]).get(REQUEST, "content-length");
    for (calls, expected) in [(&whole, (OK, "9")), (&gone, (NOT_FOUND, ""))] {
        let response =
            raw::exchange(proxy.address(), post(&format!("calls: {}\r\n", calls.hex())).as_bytes())?;
        let (status, value) = Said::of_request(&response)?.text(1);
        assert_eq!((status, value.as_str()), expected);
    }
    let fresh =
        raw::exchange(proxy.address(), post(&format!("calls: {}\r\n", read(REQUEST).hex())).as_bytes())?;
    let said = Said::of_request(&fresh)?;
    ensure!(said.text(0) == (OK, "5".into()) && said.text(1).0 == NOT_FOUND, "{said:?}");
    // A response that takes the place of one that was written into.
    let answer = Calls::default().remove(RESPONSE, "content-length").respond(403, &[], "no");
    let response =
        raw::exchange(proxy.address(), post(&format!("calls-response: {}\r\n", answer.hex())).as_bytes())?;
    let (head, body) = raw::split(&response).context("a response")?;
    assert_eq!((raw::field(head, "content-length").as_deref(), body), (Some("2"), &b"no"[..]));
    Ok(())
}
