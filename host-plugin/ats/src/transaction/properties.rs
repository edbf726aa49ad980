//! Properties of a transaction: `request.*`, `response.*`, `source.*`, `destination.*`, `connection.*`,
//! `upstream.*`. Integers are 64 bits little endian, times nanoseconds, addresses `ip:port` or `[ip]:port`. The list is in
//! docs/CONFORMANCE.md.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use wasmdbg_proxy_wasm::{HeaderMap, Part, Status};

use super::certificate::{Certificate, Kind};
use super::maps::{self, Map};
use super::pseudo;
use crate::sys::milestone;
use crate::ts::{Access, Endpoint, Header, VConn, WellKnown, Whose};

type Answer = Result<(), Status>;

/// Appends the value of `path`.
pub(super) fn get(access: &mut Access<'_>, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"request", rest @ ..] => request(access, rest, value),
        [b"response", rest @ ..] => response(access, rest, value),
        [b"source", rest @ ..] => endpoint(access.client_address(), rest, b"address", b"port", value),
        [b"destination", rest @ ..] => endpoint(access.local_address(), rest, b"address", b"port", value),
        [b"connection", rest @ ..] => connection(access, rest, value),
        [b"upstream", rest @ ..] => upstream(access, rest, value),
        _ => Err(Status::NotFound),
    }
}

fn request(access: &mut Access<'_>, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let fields = map(access, HeaderMap::RequestHeaders)?;
    let header = &*fields.header;
    let access = header.access();
    match path {
        [b"path"] => pseudo::path(header, value),
        [b"url_path"] => pseudo::url_path(header, value),
        [b"query"] => text(value, header.url().ok_or(Status::NotFound)?.query()),
        [b"host"] => pseudo::authority(header, value),
        [b"scheme"] => text(value, pseudo::scheme(header)),
        [b"method"] => text(value, header.method()),
        [b"headers", name] => fields.get(name, value),
        [b"referer"] => fields.get(b"Referer", value),
        [b"useragent"] => fields.get(b"User-Agent", value),
        [b"id"] => fields.get(b"x-request-id", value),
        [b"protocol"] => text(value, protocol(header)),
        [b"time"] => integer(value, started(access)?),
        [b"duration"] => integer(value, now().saturating_sub(started(access)?)),
        [b"size"] => integer(value, content_length(header).unwrap_or_else(|| access.request_bytes().1)),
        [b"headers_bytes"] => integer(value, access.request_bytes().0),
        [b"total_size"] => {
            let (head, body) = access.request_bytes();
            integer(value, head + body)
        }
        _ => Err(Status::NotFound),
    }
}

fn response(access: &mut Access<'_>, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    let fields = map(access, HeaderMap::ResponseHeaders)?;
    let header = &*fields.header;
    let access = header.access();
    match path {
        [b"code"] => integer(value, u64::from(header.status())),
        [b"code_details"] => text(value, header.reason()),
        [b"grpc_status"] => {
            let mut status = Vec::new();
            fields.get(b"grpc-status", &mut status)?;
            integer(value, number(&status).ok_or(Status::NotFound)?)
        }
        [b"headers", name] => fields.get(name, value),
        [b"size"] => integer(value, content_length(header).unwrap_or_else(|| access.response_bytes().1)),
        [b"total_size"] => {
            let (head, body) = access.response_bytes();
            integer(value, head + body)
        }
        _ => Err(Status::NotFound),
    }
}

fn connection(access: &Access<'_>, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"id"] => integer(value, access.session_id().ok_or(Status::NotFound)?),
        [b"requested_server_name"] => {
            let name = access.client_connection().and_then(|client| client.requested_server_name());
            text(value, &name.ok_or(Status::NotFound)?)
        }
        [b"tls_version"] => {
            let version = access.client_connection().and_then(|client| client.tls_version());
            text(value, &version.ok_or(Status::NotFound)?)
        }
        [b"mtls"] => {
            let client = access.client_connection().filter(|_| tls(access));
            let shown = client.map_or(Ok(None), |client| client.certificate(Whose::Peer));
            text(value, &[u8::from(shown.map_err(|_| Status::NotFound)?.is_some())])
        }
        [name] => of_certificate(access.client_connection(), name, value),
        _ => Err(Status::NotFound),
    }
}

fn upstream(access: &Access<'_>, path: &[&[u8]], value: &mut Vec<u8>) -> Answer {
    match path {
        [b"local_address" | b"local_port"] => {
            endpoint(access.outgoing_address(), path, b"local_address", b"local_port", value)
        }
        [b"tls_version"] => {
            let mut version: &[u8] = b"";
            access.server_protocols(|name| {
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
        [b"address" | b"port"] => endpoint(access.server_address(), path, b"address", b"port", value),
        [name] => of_certificate(access.server_connection(), name, value),
        _ => Err(Status::NotFound),
    }
}

/// What a certificate of a connection says.
fn of_certificate(connection: Option<VConn<'_>>, name: &[u8], value: &mut Vec<u8>) -> Answer {
    let whose = match name {
        b"subject_local_certificate" | b"dns_san_local_certificate" | b"uri_san_local_certificate" => {
            Whose::Own
        }
        b"subject_peer_certificate"
        | b"dns_san_peer_certificate"
        | b"uri_san_peer_certificate"
        | b"sha256_peer_certificate_digest" => Whose::Peer,
        _ => return Err(Status::NotFound),
    };
    let connection = connection.ok_or(Status::NotFound)?;
    let der = connection.certificate(whose).ok().flatten().ok_or(Status::NotFound)?;
    if name.starts_with(b"sha256") {
        Sha256::digest(&der)
            .iter()
            .for_each(|byte| value.extend_from_slice(format!("{byte:02x}").as_bytes()));
        return Ok(());
    }
    let certificate = Certificate::parse(&der).ok_or(Status::NotFound)?;
    if name.starts_with(b"subject") {
        return text(value, certificate.subject().as_bytes());
    }
    let kind = if name.starts_with(b"dns") { Kind::Dns } else { Kind::Uri };
    text(value, certificate.other_name(kind).ok_or(Status::NotFound)?)
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
        [name] if *name == address => {
            text(value, SocketAddr::new(endpoint.address, endpoint.port).to_string().as_bytes())
        }
        [name] if *name == port => integer(value, u64::from(endpoint.port)),
        _ => Err(Status::NotFound),
    }
}

/// Sets `path`.
pub(super) fn set(access: &mut Access<'_>, path: &[&[u8]], value: &[u8]) -> Answer {
    let has = |of: HeaderMap, name: &[u8], value: &[u8]| {
        maps::header_of(access, of).is_some_and(|header| maps::has(of, &header, name, value))
    };
    let (of, part) = Part::of_property(path, value, has)?;
    map(access, of)?.set(part)
}

/// The map of a header that is there in this phase.
fn map<'txn>(access: &'txn mut Access<'_>, of: HeaderMap) -> Result<Map<'txn>, Status> {
    Map::new(access, of).ok_or(Status::NotFound)
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
    number(field.value())
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn tls(access: &Access<'_>) -> bool {
    let mut tls = false;
    access.client_protocols(|name| tls |= name.starts_with(b"tls"));
    tls
}

fn protocol(request: &Header<'_>) -> &'static [u8] {
    let mut http2 = false;
    request.access().client_protocols(|name| http2 |= name == b"h2");
    match (http2, request.version()) {
        (true, _) => b"HTTP/2",
        (false, (1, 0)) => b"HTTP/1.0",
        (false, _) => b"HTTP/1.1",
    }
}

fn started(access: &Access<'_>) -> Result<u64, Status> {
    access.milestone(milestone::SM_START).ok_or(Status::NotFound)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
