//! Properties of a transaction: `request.*`, `response.*`, `source.*`, `destination.*`, `connection.*`,
//! `upstream.*`. Integers are 64 bits little endian, times nanoseconds, addresses `ip:port` or `[ip]:port`.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use wasmdbg_proxy_wasm::{HeaderMap, Part, Status};

use super::fields::Fields;
use super::state::ExchangeState;

type Answer = Result<(), Status>;

/// Appends the value of `path`.
pub(crate) fn get(seen: &ExchangeState, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"request", rest @ ..] => request(seen, rest, value),
        [b"response", rest @ ..] => response(seen.response.as_ref().ok_or(Status::NotFound)?, rest, value),
        [b"source", name] => endpoint(seen.peers.client, name, value),
        [b"destination", name] => endpoint(seen.peers.local, name, value),
        [b"upstream", name] => endpoint(seen.upstream, name, value),
        [b"connection", b"mtls"] => text(value, &[0]),
        _ => Err(Status::NotFound),
    }
}

fn request(seen: &ExchangeState, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let fields = &seen.request;
    match path {
        [b"path"] => field(fields, b":path", value),
        [b"url_path"] => text(value, &fields.path_and_query().0),
        [b"query"] => text(value, &fields.path_and_query().1),
        [b"host"] => field(fields, b":authority", value),
        [b"scheme"] => field(fields, b":scheme", value),
        [b"method"] => field(fields, b":method", value),
        [b"headers", name] => field(fields, name, value),
        [b"referer"] => field(fields, b"referer", value),
        [b"useragent"] => field(fields, b"user-agent", value),
        [b"id"] => field(fields, b"x-request-id", value),
        [b"protocol"] => text(value, seen.protocol.as_bytes()),
        [b"time"] => integer(value, nanoseconds(seen.started.duration_since(UNIX_EPOCH).unwrap_or_default())),
        [b"duration"] => integer(value, nanoseconds(seen.started.elapsed().unwrap_or_default())),
        [b"size"] => integer(value, length(fields)?),
        _ => Err(Status::NotFound),
    }
}

fn response(fields: &Fields, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"code"] => integer(value, fields.text(b":status").parse().map_err(|_| Status::NotFound)?),
        [b"code_details"] => text(value, &reason(fields)),
        [b"grpc_status"] => {
            integer(value, fields.text(b"grpc-status").parse().map_err(|_| Status::NotFound)?)
        }
        [b"headers", name] => field(fields, name, value),
        [b"size"] => integer(value, length(fields)?),
        _ => Err(Status::NotFound),
    }
}

/// The words behind the status.
fn reason(fields: &Fields) -> Vec<u8> {
    let usual = || {
        let status = http::StatusCode::from_bytes(fields.text(b":status").as_bytes()).ok()?;
        status.canonical_reason().map(Vec::from)
    };
    fields.reason.clone().or_else(usual).unwrap_or_default()
}

/// Sets `path`.
pub(crate) fn set(seen: &mut ExchangeState, path: &[&[u8]], value: &[u8]) -> Answer {
    let has = |map: HeaderMap, name: &[u8], value: &[u8]| match map {
        HeaderMap::RequestHeaders => seen.request.has(name, value),
        _ => seen.response.as_ref().is_some_and(|response| response.has(name, value)),
    };
    match Part::of_property(path, value, has)? {
        (HeaderMap::RequestHeaders, part) => seen.request.set(part),
        (_, part) => seen.response.as_mut().ok_or(Status::NotFound)?.set(part),
    }
}

fn endpoint(address: Option<SocketAddr>, name: &[u8], value: &mut Vec<u8>) -> Answer {
    let address = address.ok_or(Status::NotFound)?;
    match name {
        b"address" => text(value, address.to_string().as_bytes()),
        b"port" => integer(value, u64::from(address.port())),
        _ => Err(Status::NotFound),
    }
}

fn length(fields: &Fields) -> Result<u64, Status> {
    let field = fields.outgoing().find(|(name, _)| name.eq_ignore_ascii_case(b"content-length"));
    let text = field.and_then(|(_, value)| std::str::from_utf8(value).ok());
    text.and_then(|text| text.trim().parse().ok()).ok_or(Status::NotFound)
}

fn field(fields: &Fields, name: &[u8], value: &mut Vec<u8>) -> Answer {
    text(value, &fields.get(name).ok_or(Status::NotFound)?)
}

fn text(value: &mut Vec<u8>, text: &[u8]) -> Answer {
    value.extend_from_slice(text);
    Ok(())
}

fn integer(value: &mut Vec<u8>, number: u64) -> Answer {
    value.extend_from_slice(&number.to_le_bytes());
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::exchange::Exchange;
    use crate::transaction::state::Peers;
    use wasmdbg_control::TransactionId;

    fn exchange() -> std::sync::Arc<Exchange> {
        let request = http::Request::get("/a?b")
            .header("host", "h")
            .header("content-length", "3")
            .header("user-agent", "u")
            .header("referer", "r")
            .header("x-request-id", "i")
            .body(());
        let peers = Peers {
            client: Some("192.0.2.1:4321".parse().unwrap()),
            local: Some("[2001:db8::1]:80".parse().unwrap()),
        };
        let exchange = Exchange::new(TransactionId(1), &request.unwrap().into_parts().0, peers);
        exchange.lock().upstream = Some("198.51.100.7:8080".parse().unwrap());
        exchange
    }

    fn text(exchange: &Exchange, path: &str) -> String {
        let path: Vec<&[u8]> = path.split('.').map(str::as_bytes).collect();
        let mut value = Vec::new();
        get(&exchange.lock(), &path, &mut value).unwrap();
        String::from_utf8(value).unwrap()
    }

    #[test]
    fn addresses_have_a_port() {
        let exchange = exchange();
        assert_eq!(text(&exchange, "source.address"), "192.0.2.1:4321");
        assert_eq!(text(&exchange, "destination.address"), "[2001:db8::1]:80");
        assert_eq!(text(&exchange, "upstream.address"), "198.51.100.7:8080");
    }

    #[test]
    fn each_property_is_its_own() {
        let exchange = exchange();
        let number = |path: &str| {
            let path: Vec<&[u8]> = path.split('.').map(str::as_bytes).collect();
            let mut value = Vec::new();
            get(&exchange.lock(), &path, &mut value).unwrap();
            u64::from_le_bytes(value.try_into().unwrap())
        };
        for (path, wanted) in [
            ("request.path", "/a?b"),
            ("request.url_path", "/a"),
            ("request.query", "b"),
            ("request.host", "h"),
            ("request.method", "GET"),
            ("request.scheme", "http"),
            ("request.protocol", "HTTP/1.1"),
            ("request.useragent", "u"),
            ("request.referer", "r"),
            ("request.id", "i"),
            ("request.headers.referer", "r"),
            ("connection.mtls", "\0"),
        ] {
            assert_eq!(text(&exchange, path), wanted, "{path}");
        }
        assert_eq!((number("source.port"), number("destination.port")), (4321, 80));
        assert_eq!(number("upstream.port"), 8080);
        let year_2026 = 1_767_225_600_000_000_000;
        assert!(number("request.time") > year_2026, "nanoseconds since 1970");
        assert!(number("request.duration") < 3_600_000_000_000);
        let response = http::Response::builder().status(404).header("content-length", "5").body(());
        exchange.set_response(&response.unwrap().into_parts().0);
        assert_eq!((number("response.code"), number("response.size")), (404, 5));
        assert_eq!(text(&exchange, "response.headers.content-length"), "5");
        // What a filter writes there does not change what is sent.
        exchange.lock().request.replace(b"content-length", b"99").unwrap();
        assert_eq!(number("request.size"), 3);
    }

    #[test]
    fn what_could_end_a_line_is_refused_and_changes_nothing() {
        let exchange = exchange();
        let set = |path: &str, value: &[u8]| {
            let path: Vec<&[u8]> = path.split('.').map(str::as_bytes).collect();
            set(&mut exchange.lock(), &path, value)
        };
        let before = exchange.copy();
        for (path, front) in [
            ("request.path", "/"),
            ("request.url_path", "/"),
            ("request.query", ""),
            ("request.method", "GET"),
            ("request.host", "h"),
            ("request.scheme", "http"),
            ("request.headers.x", ""),
        ] {
            for byte in *b"\r\n\0\x01\x7f" {
                let value = [front.as_bytes(), &[byte], b"x"].concat();
                assert_eq!(set(path, &value), Err(Status::BadArgument), "{path}: {byte}");
            }
        }
        assert_eq!(set("response.code", b"404"), Err(Status::NotFound), "there is no response yet");
        assert_eq!(exchange.copy(), before);
        assert_eq!(set("request.url_path", b"/c"), Ok(()));
        assert_eq!(text(&exchange, "request.path"), "/c?b");
        assert_eq!(set("request.query", b"d=1"), Ok(()));
        assert_eq!(text(&exchange, "request.path"), "/c?d=1");
        assert_eq!(set("request.query", b""), Ok(()));
        assert_eq!(text(&exchange, "request.path"), "/c");
    }
}
