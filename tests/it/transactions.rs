//! What a filter sees of a transaction and can change: header maps, pseudo-headers, properties. The
//! fixture `probe` does what request headers tell and answers in response headers.

use anyhow::{Context, Result};
use wasmdbg_tests::ats::{Ats, Filter};
use wasmdbg_tests::http::{Request, Response};
use wasmdbg_tests::origin::{Answer, Origin};
use wasmdbg_tests::process::repository;
use wasmdbg_tests::raw::{self, RawOrigin};
use wasmdbg_tests::scratch::Scratch;

use crate::calls::{self, BAD_ARGUMENT, Calls, NOT_FOUND, OK, REQUEST, Said};

struct Proxy {
    ats: Ats,
    origin: Origin,
    _module: Scratch,
}

impl Proxy {
    fn start() -> Result<Self> {
        let text = std::fs::read(repository().join("tests/fixtures/probe/probe.wat"))?;
        let module = Scratch::new("probe")?;
        let path = module.write("probe.wasm", wat::parse_bytes(&text)?)?;
        let origin = Origin::start(|_| Answer::ok("from the origin").header("Content-Type", "text/plain"))?;
        let ats =
            Ats::options().origin("/o/", origin.address()).filter(Filter::new("probe", &path)).start()?;
        Ok(Self { ats, origin, _module: module })
    }

    fn fetch(&self, path: &str, told: &[(&str, &str)]) -> Result<Response> {
        let mut request = Request::get(path);
        for (name, value) in told {
            request = request.header(name, value);
        }
        let response = self.ats.fetch(&request)?;
        anyhow::ensure!(self.ats.errors().is_empty(), "{}", self.ats.errors());
        Ok(response)
    }

    /// A property as it is in the request's phase.
    fn early(&self, property: &str) -> Result<(u8, Vec<u8>)> {
        answer(&self.fetch("/o/page;a=1?x=1&y=2", &[("ask-request", property)])?, "answer-request")
    }

    /// A property as it is in the response's phase.
    fn late(&self, property: &str) -> Result<(u8, Vec<u8>)> {
        answer(&self.fetch("/o/page;a=1?x=1&y=2", &[("ask", property)])?, "answer")
    }
}

/// `STATUS HEX`
fn answer(response: &Response, header: &str) -> Result<(u8, Vec<u8>)> {
    let text = response.header(header).with_context(|| format!("no {header} in {response:?}"))?;
    let (status, digits) = text.split_once(' ').unwrap_or((text, ""));
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16);
    let bytes = (0..digits.len() / 2).map(|place| byte(2 * place)).collect::<Result<_, _>>()?;
    Ok((status.parse()?, bytes))
}

fn number(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_le_bytes(bytes.try_into().context("integers have 64 bits")?))
}

#[test]
fn properties_of_a_request() -> Result<()> {
    let proxy = Proxy::start()?;
    let authority = proxy.ats.address().to_string();
    let texts = [
        ("request.path", "/o/page;a=1?x=1&y=2"),
        ("request.url_path", "/o/page;a=1"),
        ("request.query", "x=1&y=2"),
        ("request.host", authority.as_str()),
        ("request.method", "GET"),
        ("request.scheme", "http"),
        ("request.protocol", "HTTP/1.1"),
        ("request.headers.ask-request", "request\0headers\0ask-request"),
        ("destination.address", authority.as_str()),
        ("plugin_name", "probe"),
    ];
    for (property, expected) in texts {
        let (status, value) = proxy.early(property)?;
        // The guest has made zero bytes of the dots of its own question.
        let value = String::from_utf8_lossy(&value).into_owned();
        let expected =
            if property.ends_with("ask-request") { "request.headers.ask-request" } else { expected };
        assert_eq!((status, value.as_str()), (OK, expected), "{property}");
    }
    let port = proxy.early("destination.port")?;
    assert_eq!(number(&port.1)?, u64::from(proxy.ats.address().port()), "in host byte order");
    let time = number(&proxy.early("request.time")?.1)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    assert!(now.abs_diff(time) < 60_000_000_000, "nanoseconds since 1970: {time}");
    for absent in
        ["response.code", "upstream.address", "request.referer", "nonsense", "connection.tls_version"]
    {
        assert_eq!(proxy.early(absent)?.0, NOT_FOUND, "{absent}");
    }
    Ok(())
}

#[test]
fn properties_of_a_response_and_of_the_origin() -> Result<()> {
    let proxy = Proxy::start()?;
    assert_eq!(number(&proxy.late("response.code")?.1)?, 200);
    assert_eq!(proxy.late("response.code_details")?, (OK, b"Answer".to_vec()), "the words behind it");
    assert_eq!(proxy.late("response.headers.content-type")?, (OK, b"text/plain".to_vec()));
    let (status, address) = proxy.late("upstream.address")?;
    assert_eq!((status, address), (OK, proxy.origin.address().to_string().into_bytes()));
    assert_eq!(number(&proxy.late("upstream.port")?.1)?, u64::from(proxy.origin.address().port()));
    assert_ne!(number(&proxy.late("upstream.local_port")?.1)?, u64::from(proxy.origin.address().port()));
    Ok(())
}

#[test]
fn pseudo_headers_change_the_request() -> Result<()> {
    let proxy = Proxy::start()?;
    let told = [("path", "/o/other;b=2?z=3"), ("method", "DELETE"), ("remove", "secret"), ("secret", "s")];
    assert_eq!(proxy.fetch("/o/page?x=1", &told)?.status, 200);
    let seen = proxy.origin.requests();
    let last = seen.last().context("the origin was asked")?;
    assert_eq!((last.method.as_str(), last.path.as_str()), ("DELETE", "/other;b=2?z=3"));
    assert_eq!(last.header("secret"), None);
    let added: Vec<&str> =
        last.headers.iter().filter(|(name, _)| name == "x-added").map(|(_, v)| v.as_str()).collect();
    assert_eq!(added.join(","), "1,2");
    let response = proxy.fetch("/o/page", &[("status", "404")])?;
    assert_eq!(response.status, 404);
    Ok(())
}

#[test]
fn header_maps_tell_what_is_not_there() -> Result<()> {
    let proxy = Proxy::start()?;
    let was = |name: &str, more: &[(&str, &str)]| {
        let told: Vec<_> = [("read", name)].into_iter().chain(more.iter().copied()).collect();
        answer(&proxy.fetch("/o/p?q", &told)?, "was")
    };
    assert_eq!(was("absent", &[])?.0, NOT_FOUND);
    assert_eq!(was(":status", &[])?.0, NOT_FOUND, "a request has none");
    assert_eq!(was("X-Two", &[("x-two", "a"), ("x-two", "b")])?, (OK, b"a,b".to_vec()));
    assert_eq!(was(":path", &[])?, (OK, b"/o/p?q".to_vec()));
    Ok(())
}

#[test]
fn properties_that_can_be_set() -> Result<()> {
    let proxy = Proxy::start()?;
    let set = |property: &str, value: &str| {
        let response = proxy.fetch("/o/page?x=1", &[("set", property), ("to", value)])?;
        answer(&response, "set-said").map(|(status, _)| status)
    };
    assert_eq!(set("request.url_path", "/o/elsewhere")?, OK);
    let seen = proxy.origin.requests();
    assert_eq!(seen.last().map(|request| request.path.as_str()), Some("/elsewhere?x=1"));
    assert_eq!(set("request.query", "z=9")?, OK);
    let seen = proxy.origin.requests();
    assert_eq!(seen.last().map(|request| request.path.as_str()), Some("/page?z=9"));
    assert_eq!(set("request.headers.x-made", "here")?, OK);
    let seen = proxy.origin.requests();
    assert_eq!(seen.last().and_then(|request| request.header("x-made")), Some("here"));
    assert_eq!(set("request.headers.bad name", "here")?, BAD_ARGUMENT);
    assert_eq!(set("source.address", "192.0.2.1")?, NOT_FOUND);
    let details: [&[u8]; 2] = [b"response", b"code_details"];
    let calls = Calls::default().set_property(&details, "Of its own").property("response.code_details");
    let (folder, ats) = (Scratch::new("calls")?, Ats::options());
    let ats = ats.filter(calls::filter(&folder, "calls")?).start()?;
    let request = calls::request("GET /cache/2/x", &Calls::default(), &calls, "");
    let response = raw::exchange(ats.address(), &request)?;
    assert!(response.starts_with(b"HTTP/1.1 200 Of its own\r\n"), "{}", String::from_utf8_lossy(&response));
    assert_eq!(Said::of_response(&response)?.text(1), (OK, "Of its own".into()));
    Ok(())
}

#[test]
fn source_is_the_client_and_destination_this_server() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let ats = Ats::options().filter(calls::filter(&folder, "calls")?).start()?;
    let ask = Calls::default()
        .property("source.address")
        .property("source.port")
        .property("destination.address")
        .property("destination.port");
    let client = raw::connect_from(std::net::Ipv4Addr::new(127, 0, 0, 2), ats.address())?;
    let own = client.local_addr()?;
    let request = calls::request("GET /cache/10/x", &ask, &Calls::default(), "");
    let said = Said::of_request(&raw::exchange_on(client, &request)?)?;
    assert_eq!(said.statuses(), [OK; 4]);
    assert_eq!(said.text(0).1, own.to_string());
    assert!(said.text(0).1.starts_with("127.0.0.2:"), "{said:?}");
    assert_eq!(number(&said.results[1].1)?, u64::from(own.port()));
    assert_eq!(said.text(2).1, ats.address().to_string());
    assert_eq!(number(&said.results[3].1)?, u64::from(ats.address().port()));
    Ok(())
}

#[test]
fn streams_end_with_their_headers_when_no_body_follows() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let origin = RawOrigin::start(|request| {
        let (length, body) = match request {
            [b'H', ..] => (2, ""),
            request if request.starts_with(b"GET /empty") => (0, ""),
            _ => (2, "ok"),
        };
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    })?;
    let ats =
        Ats::options().origin("/o/", origin.address()).filter(calls::filter(&folder, "calls")?).start()?;
    let none = Calls::default();
    for (line, more, of_request, of_response) in [
        ("GET /o/page", "", true, false),
        ("HEAD /o/page", "", true, true),
        ("GET /o/empty", "", true, true),
        ("POST /o/page", "Content-Length: 0\r\n", true, false),
        ("POST /o/page", "Content-Length: 1\r\n", false, false),
        ("POST /o/page", "Transfer-Encoding: chunked\r\n", false, false),
    ] {
        let mut request = calls::request(line, &none, &none, more);
        request.extend(match more.split(": ").nth(1) {
            Some("1\r\n") => &b"b"[..],
            Some("chunked\r\n") => b"1\r\nb\r\n0\r\n\r\n",
            _ => b"",
        });
        let response = raw::exchange(ats.address(), &request)?;
        let ends = (Said::of_request(&response)?.end_of_stream, Said::of_response(&response)?.end_of_stream);
        assert_eq!(ends, (of_request, of_response), "{line} {more}");
    }
    Ok(())
}

#[test]
fn the_scheme_is_that_of_the_clients_connection() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let ats = Ats::options().tls().filter(calls::filter(&folder, "calls")?).start()?;
    let ask = Calls::default().get(REQUEST, ":scheme").property("request.scheme");
    let header = format!("calls: {}", ask.hex());
    for (url, version) in [
        (format!("http://{}", ats.address()), "--http1.1"),
        (format!("https://{}", ats.tls_address()?), "--http1.1"),
        (format!("https://{}", ats.tls_address()?), "--http2"),
    ] {
        let curl = std::process::Command::new("curl")
            .args(["-sS", "-k", version, "-D", "-", "-o", "/dev/null", "-H", &header])
            .arg(format!("{url}/cache/10/x"))
            .output()
            .context("cannot run curl: `tests/setup/install.sh test` installs it")?;
        let said = Said::of_request(&curl.stdout).with_context(|| format!("{curl:?}"))?;
        let scheme = url.split(':').next().unwrap_or_default();
        assert_eq!((said.text(0).1.as_str(), said.text(1).1.as_str()), (scheme, scheme), "{url} {version}");
    }
    Ok(())
}

#[test]
fn the_total_size_is_that_of_all_bytes() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let origin = Origin::start(|_| Answer::ok("from the origin"))?;
    let ats =
        Ats::options().origin("/o/", origin.address()).filter(calls::filter(&folder, "calls")?).start()?;
    let ask = Calls::default().property("request.total_size").property("request.size");
    let mut request = calls::request("POST /o/page", &Calls::default(), &ask, "Content-Length: 5\r\n");
    request.extend(b"hello");
    let said = Said::of_response(&raw::exchange(ats.address(), &request)?)?;
    assert_eq!(number(&said.results[0].1)?, request.len() as u64);
    assert_eq!(number(&said.results[1].1)?, 5);
    Ok(())
}

/// A chain of two filters: the second one finds what the first one has left, and so does the response's callback. The
/// next request has nothing of it.
#[test]
fn a_property_of_a_filters_own_is_found_by_later_callbacks_and_filters() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let (first, second) = (calls::filter(&folder, "calls")?, calls::filter(&folder, "other")?);
    let ats = Ats::options().filter(first).filter(second).start()?;
    let new = Calls::default;
    let ask = |calls: Calls| calls.property("own.what").property("own");
    let set = ask(new().set_property(&[b"own", b"what"], "left").set_property(&[b"upstream", b"x"], "left"));
    let other = format!("other: {}\r\n", ask(new()).hex());
    let none = (NOT_FOUND, String::new());
    for (request_calls, first, found) in [(set, 2, (OK, String::from("left"))), (ask(new()), 0, none.clone())]
    {
        let request = calls::request("GET /cache/10/x", &request_calls, &ask(new()), &other);
        let response = raw::exchange(ats.address(), &request)?;
        let said = Said::of_request(&response)?;
        assert_eq!(said.statuses()[..first], [OK, NOT_FOUND][..first]);
        for (said, at) in
            [(said, first), (Said::field(&response, "said-other")?, 0), (Said::of_response(&response)?, 0)]
        {
            assert_eq!((said.text(at), said.text(at + 1)), (found.clone(), none.clone()), "{said:?}");
        }
    }
    Ok(())
}

#[test]
fn the_host_is_listed_as_authority_and_stays_when_the_map_is_written_back() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let origin = RawOrigin::start(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()
    })?;
    let ats = Ats::options()
        .origin("/o/", origin.address())
        .record("proxy.config.url_remap.pristine_host_hdr INT 1")
        .filter(calls::filter(&folder, "calls")?)
        .start()?;
    let read = Calls::default().pairs(REQUEST);
    let said = Said::of_request(&raw::exchange(
        ats.address(),
        &calls::request("GET /o/p", &read, &Calls::default(), ""),
    )?)?;
    let map = said.pairs(0);
    assert_eq!(map.len() + 1, said.headers as usize, "the field with the calls is gone: {map:?}");
    assert_eq!(map.iter().filter(|(_, value)| value == "here").count(), 1, "{map:?}");
    for with in [&[":authority"][..], &[]] {
        let kept = map.iter().filter(|(name, _)| name != ":authority" || with.contains(&name.as_str()));
        let kept: Vec<(&[u8], &[u8])> =
            kept.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let write = Calls::default().set_pairs(REQUEST, &kept).get(REQUEST, "host");
        let said = Said::of_request(&raw::exchange(
            ats.address(),
            &calls::request("GET /o/p", &write, &Calls::default(), ""),
        )?)?;
        assert_eq!((said.statuses()[0], said.text(1)), (OK, (OK, "here".into())));
        let seen = origin.take()?;
        let (head, _) = raw::split(seen.last().context("the origin was asked")?).context("a request")?;
        assert_eq!(raw::field(head, "host").as_deref(), Some("here"));
    }
    Ok(())
}

/// A client that shows a certificate, and an origin with TLS: what both connections say of them.
#[test]
fn certificates_of_the_client_and_of_the_origin() -> Result<()> {
    let folder = Scratch::new("calls")?;
    let (certificate, key) = (folder.path().join("client.pem"), folder.path().join("client.key"));
    let openssl = |arguments: &[&str]| -> Result<String> {
        let output = std::process::Command::new("openssl").args(arguments).output()?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/O=A, B/CN=client",
        "-addext",
        "subjectAltName=DNS:client.test,URI:spiffe://test/client",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ])?;
    let print = openssl(&["x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"])?;
    let digest = print.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
    let origin = Ats::options().tls().start()?;
    let ats = Ats::options()
        .tls()
        .tls_origin("/o/", origin.tls_address()?)
        .record("proxy.config.ssl.client.certification_level INT 1")
        .record(&format!("proxy.config.ssl.CA.cert.filename STRING {certificate}"))
        .filter(calls::filter(&folder, "calls")?)
        .start()?;
    let ask = |of: &str| {
        ["subject_local", "subject_peer", "dns_san_local", "dns_san_peer", "uri_san_local", "uri_san_peer"]
            .iter()
            .fold(Calls::default(), |calls, name| calls.property(&format!("{of}.{name}_certificate")))
            .property(&format!("{of}.sha256_peer_certificate_digest"))
            .property(&format!("{of}.tls_version"))
    };
    let header = |name: &str, calls: &Calls| format!("{name}: {}", calls.hex());
    let of_client = header("calls", &ask("connection").property("connection.mtls"));
    let of_origin = header("calls-response", &ask("upstream"));
    let url = format!("https://{}/o/nocache/10/x", ats.tls_address()?);
    let fetch = |version: &str, shown: &[&str]| -> Result<(Said, Said)> {
        let curl = std::process::Command::new("curl")
            .args(["-sS", "-k", version, "-D", "-", "-o", "/dev/null", "-H", &of_client, "-H", &of_origin])
            .args(shown)
            .arg(&url)
            .output()?;
        let said = Said::of_request(&curl.stdout).with_context(|| format!("{curl:?} {}", ats.diags()))?;
        Ok((said, Said::of_response(&curl.stdout)?))
    };
    let found = |text: &str| (OK, text.to_string());
    let none = (NOT_FOUND, String::new());
    let texts = |said: &Said| (0..8).map(|call| said.text(call)).collect::<Vec<_>>();
    for version in ["--http1.1", "--http2"] {
        let (client, upstream) = fetch(version, &["--cert", &certificate, "--key", &key])?;
        let expected = [
            found("CN=localhost"),
            found(r"CN=client,O=A\, B"),
            none.clone(),
            found("client.test"),
            none.clone(),
            found("spiffe://test/client"),
            found(&digest),
        ];
        assert_eq!(texts(&client)[..7], expected, "{version}");
        assert!(client.text(7).1.starts_with("TLSv1."), "{client:?}");
        assert_eq!(client.results[8], (OK, vec![1]));
        let upstream = texts(&upstream);
        assert_eq!(upstream[..2], [none.clone(), found("CN=localhost")], "{version}");
        assert_eq!(upstream[6].0, OK);
        let (client, _) = fetch(version, &[])?;
        assert_eq!((client.text(0), client.text(1)), (found("CN=localhost"), none.clone()));
        assert_eq!(client.results[8], (OK, vec![0]), "without a certificate there is no mTLS");
    }
    Ok(())
}
