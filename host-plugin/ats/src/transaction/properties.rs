//! Properties of a transaction: `request.*`, `response.*`, `source.*`, `destination.*`, `connection.*`,
//! `upstream.*`. Integers are 64 bits little endian, times nanoseconds.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmdbg_proxy_wasm::{HeaderMap, Status};

use super::{maps, pseudo};
use crate::sys::milestone;
use crate::ts::{Endpoint, Header, Txn, WellKnown};

type Answer = Result<(), Status>;

/// Appends the value of `path`.
pub(super) fn get(txn: Txn, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"request", rest @ ..] => request(txn, rest, value),
        [b"response", rest @ ..] => response(txn, rest, value),
        [b"source", rest @ ..] => endpoint(txn.client_address(), rest, b"address", b"port", value),
        [b"destination", rest @ ..] => endpoint(txn.local_address(), rest, b"address", b"port", value),
        [b"connection", rest @ ..] => connection(txn, rest, value),
        [b"upstream", rest @ ..] => upstream(txn, rest, value),
        _ => Err(Status::NotFound),
    }
}

fn request(txn: Txn, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let header = txn.client_request().ok_or(Status::NotFound)?;
    match path {
        [b"path"] => pseudo::path(&header, value),
        [b"url_path"] => pseudo::url_path(&header, value),
        [b"query"] => text(value, header.url().ok_or(Status::NotFound)?.query()),
        [b"host"] => pseudo::authority(&header, value),
        [b"scheme"] => text(value, pseudo::scheme(&txn, &header)),
        [b"method"] => text(value, header.method()),
        [b"headers", name] => maps::get(&txn, &header, HeaderMap::RequestHeaders, name, value),
        [b"referer"] => maps::get(&txn, &header, HeaderMap::RequestHeaders, b"Referer", value),
        [b"useragent"] => maps::get(&txn, &header, HeaderMap::RequestHeaders, b"User-Agent", value),
        [b"id"] => maps::get(&txn, &header, HeaderMap::RequestHeaders, b"x-request-id", value),
        [b"protocol"] => text(value, protocol(txn, &header)),
        [b"time"] => integer(value, started(txn)?),
        [b"duration"] => integer(value, now().saturating_sub(started(txn)?)),
        [b"size"] => integer(value, content_length(&header).unwrap_or_else(|| txn.request_bytes().1)),
        [b"total_size"] => {
            let (head, body) = txn.request_bytes();
            integer(value, head + body)
        }
        _ => Err(Status::NotFound),
    }
}

fn response(txn: Txn, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let header = txn.client_response().ok_or(Status::NotFound)?;
    match path {
        [b"code"] => integer(value, u64::from(header.status())),
        [b"headers", name] => maps::get(&txn, &header, HeaderMap::ResponseHeaders, name, value),
        [b"size"] => integer(value, content_length(&header).unwrap_or_else(|| txn.response_bytes().1)),
        [b"total_size"] => {
            let (head, body) = txn.response_bytes();
            integer(value, head + body)
        }
        _ => Err(Status::NotFound),
    }
}

fn connection(txn: Txn, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"id"] => integer(value, txn.session_id().ok_or(Status::NotFound)?),
        [b"requested_server_name"] => {
            let name = txn.client_connection().and_then(|client| client.requested_server_name());
            text(value, &name.ok_or(Status::NotFound)?)
        }
        [b"tls_version"] => {
            let version = txn.client_connection().and_then(|client| client.tls_version());
            text(value, &version.ok_or(Status::NotFound)?)
        }
        // With TLS the server's interface does not tell whether the client showed a certificate.
        [b"mtls"] if !tls(txn) => text(value, &[0]),
        _ => Err(Status::NotFound),
    }
}

fn upstream(txn: Txn, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"local_address" | b"local_port"] => {
            endpoint(txn.outgoing_address(), path, b"local_address", b"local_port", value)
        }
        [b"tls_version"] => {
            let mut version: &[u8] = b"";
            txn.server_protocols(|name| {
                if let Some(number) = name.strip_prefix(b"tls/") {
                    version = number;
                }
            });
            if version.is_empty() {
                return Err(Status::NotFound);
            }
            text(value, b"TLSv")?;
            text(value, version)
        }
        _ => endpoint(txn.server_address(), path, b"address", b"port", value),
    }
}

fn endpoint(
    endpoint: Option<Endpoint>,
    path: &[&[u8]],
    address: &[u8],
    port: &[u8],
    value: &mut Vec<u8>,
) -> Answer {
    let endpoint = endpoint.ok_or(Status::NotFound)?;
    match path {
        [name] if *name == address => text(value, endpoint.address.to_string().as_bytes()),
        [name] if *name == port => integer(value, u64::from(endpoint.port)),
        _ => Err(Status::NotFound),
    }
}

/// Sets `path`.
pub(super) fn set(txn: Txn, path: &[&[u8]], value: &[u8]) -> Answer {
    match path {
        [b"request", rest @ ..] => {
            let mut header = txn.client_request().ok_or(Status::NotFound)?;
            let map = HeaderMap::RequestHeaders;
            let pseudo = |header: &mut Header<'_>, name: &[u8]| maps::replace(header, map, name, value);
            match rest {
                [b"path"] => pseudo(&mut header, b":path"),
                [b"host"] => pseudo(&mut header, b":authority"),
                [b"scheme"] => pseudo(&mut header, b":scheme"),
                [b"method"] => pseudo(&mut header, b":method"),
                [b"url_path"] => done(pseudo::set_url_path(&mut header, value)),
                [b"query"] => done(pseudo::set_query(&mut header, value)),
                [b"headers", name] => maps::replace(&mut header, map, name, value),
                _ => Err(Status::NotFound),
            }
        }
        [b"response", rest @ ..] => {
            let mut header = txn.client_response().ok_or(Status::NotFound)?;
            match rest {
                [b"code"] => {
                    let status = code(value).ok_or(Status::BadArgument)?;
                    done(header.set_status(status))
                }
                [b"headers", name] => maps::replace(&mut header, HeaderMap::ResponseHeaders, name, value),
                _ => Err(Status::NotFound),
            }
        }
        _ => Err(Status::NotFound),
    }
}

/// A status as a little-endian integer of 8 or 4 bytes, or as text.
fn code(value: &[u8]) -> Option<u16> {
    let number = match (<[u8; 8]>::try_from(value), <[u8; 4]>::try_from(value)) {
        (Ok(bytes), _) => u64::from_le_bytes(bytes),
        (_, Ok(bytes)) => u64::from(u32::from_le_bytes(bytes)),
        _ => return pseudo::status_of(value),
    };
    u16::try_from(number).ok().filter(|status| (100..=999).contains(status))
}

fn done(done: bool) -> Answer {
    if done { Ok(()) } else { Err(Status::BadArgument) }
}

fn text(value: &mut Vec<u8>, text: &[u8]) -> Answer {
    value.extend_from_slice(text);
    Ok(())
}

fn integer(value: &mut Vec<u8>, number: u64) -> Answer {
    value.extend_from_slice(&number.to_le_bytes());
    Ok(())
}

fn content_length(header: &Header<'_>) -> Option<u64> {
    let field = header.find_known(WellKnown::ContentLength)?;
    std::str::from_utf8(field.value()).ok()?.trim().parse().ok()
}

fn tls(txn: Txn) -> bool {
    let mut tls = false;
    txn.client_protocols(|name| tls |= name.starts_with(b"tls"));
    tls
}

fn protocol(txn: Txn, request: &Header<'_>) -> &'static [u8] {
    let mut http2 = false;
    txn.client_protocols(|name| http2 |= name == b"h2");
    match (http2, request.version()) {
        (true, _) => b"HTTP/2",
        (false, (1, 0)) => b"HTTP/1.0",
        (false, _) => b"HTTP/1.1",
    }
}

fn started(txn: Txn) -> Result<u64, Status> {
    txn.milestone(milestone::SM_START).ok_or(Status::NotFound)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_number_or_a_text() {
        assert_eq!(code(&404_u64.to_le_bytes()), Some(404));
        assert_eq!(code(&404_u32.to_le_bytes()), Some(404));
        assert_eq!(code(b"404"), Some(404));
        assert_eq!(code(&7_u64.to_le_bytes()), None);
        assert_eq!(code(b"nonsense"), None);
    }
}
