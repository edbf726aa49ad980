//! Properties of a transaction: `request.*`, `response.*`, `source.*`, `destination.*`, `connection.*`,
//! `upstream.*`. Integers are 64 bits little endian, times nanoseconds.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use wasmdbg_proxy_wasm::Status;

use crate::exchange::Seen;
use crate::fields::Fields;

type Answer = Result<(), Status>;

/// Appends the value of `path`.
pub(crate) fn get(seen: &Seen, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
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

fn request(seen: &Seen, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let fields = &seen.request;
    match path {
        [b"path"] => field(fields, b":path", value),
        [b"url_path"] => text(value, split_path(fields).0.as_bytes()),
        [b"query"] => text(value, split_path(fields).1.as_bytes()),
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
        [b"headers", name] => field(fields, name, value),
        [b"size"] => integer(value, length(fields)?),
        _ => Err(Status::NotFound),
    }
}

/// Sets `path`.
pub(crate) fn set(seen: &mut Seen, path: &[&[u8]], value: &[u8]) -> Answer {
    match path {
        [b"request", b"path"] => seen.request.replace(b":path", value),
        [b"request", b"host"] => seen.request.replace(b":authority", value),
        [b"request", b"scheme"] => seen.request.replace(b":scheme", value),
        [b"request", b"method"] => seen.request.replace(b":method", value),
        [b"request", b"url_path"] => {
            let query = split_path(&seen.request).1;
            let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
            seen.request.replace(b":path", &[value, mark, query.as_bytes()].concat())
        }
        [b"request", b"query"] => {
            let path = split_path(&seen.request).0;
            let mark: &[u8] = if value.is_empty() { b"" } else { b"?" };
            seen.request.replace(b":path", &[path.as_bytes(), mark, value].concat())
        }
        [b"request", b"headers", name] => seen.request.replace(name, value),
        [b"response", b"code"] => {
            let code = match <[u8; 8]>::try_from(value) {
                Ok(bytes) => u64::from_le_bytes(bytes).to_string().into_bytes(),
                Err(_) => value.to_vec(),
            };
            seen.response.as_mut().ok_or(Status::NotFound)?.replace(b":status", &code)
        }
        [b"response", b"headers", name] => {
            seen.response.as_mut().ok_or(Status::NotFound)?.replace(name, value)
        }
        _ => Err(Status::NotFound),
    }
}

fn split_path(fields: &Fields) -> (String, String) {
    let path = fields.text(b":path");
    match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), query.to_owned()),
        None => (path, String::new()),
    }
}

fn endpoint(address: Option<SocketAddr>, name: &[u8], value: &mut Vec<u8>) -> Answer {
    let address = address.ok_or(Status::NotFound)?;
    match name {
        b"address" => text(value, address.ip().to_string().as_bytes()),
        b"port" => integer(value, u64::from(address.port())),
        _ => Err(Status::NotFound),
    }
}

fn length(fields: &Fields) -> Result<u64, Status> {
    fields.text(b"content-length").trim().parse().map_err(|_| Status::NotFound)
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
