//! Header maps: pseudo-headers first, then the fields in the order of the wire.

use wasmdbg_proxy_wasm::{HeaderMap, Status};

use super::pseudo::{OF_REQUEST, Pseudo};
use crate::ts::{Header, Txn, WellKnown};

/// The pseudo-header `name`, if this map has it.
fn pseudo(map: HeaderMap, name: &[u8]) -> Result<Option<Pseudo>, Status> {
    if name.first() != Some(&b':') {
        return Ok(None);
    }
    let known = Pseudo::of(name).filter(|pseudo| pseudo.of_request() == (map == HeaderMap::RequestHeaders));
    known.map(Some).ok_or(Status::NotFound)
}

pub(super) fn get(
    txn: &Txn,
    header: &Header<'_>,
    map: HeaderMap,
    name: &[u8],
    value: &mut Vec<u8>,
) -> Result<(), Status> {
    if let Some(pseudo) = pseudo(map, name)? {
        return pseudo.get(txn, header, value);
    }
    let mut field = header.find(name).ok_or(Status::NotFound)?;
    value.extend_from_slice(field.value());
    while let Some(next) = field.next_same_name() {
        value.push(b',');
        value.extend_from_slice(next.value());
        field = next;
    }
    Ok(())
}

pub(super) fn pairs(txn: &Txn, header: &Header<'_>, map: HeaderMap, each: &mut dyn FnMut(&[u8], &[u8])) {
    let of_map: &[Pseudo] = if map == HeaderMap::RequestHeaders { &OF_REQUEST } else { &[Pseudo::Status] };
    let mut value = Vec::new();
    for pseudo in of_map {
        value.clear();
        // One that is not there (the path of CONNECT) is listed empty: the count must hold.
        let _ = pseudo.get(txn, header, &mut value);
        each(pseudo.name(), &value);
    }
    let mut next = header.first();
    while let Some(field) = next {
        each(field.name(), field.value());
        next = field.next();
    }
}

pub(super) fn count(header: &Header<'_>, map: HeaderMap) -> u32 {
    let pseudo = if map == HeaderMap::RequestHeaders { OF_REQUEST.len() as u32 } else { 1 };
    header.count() + pseudo
}

pub(super) fn add(header: &mut Header<'_>, map: HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Status> {
    match pseudo(map, name).map_err(|_| Status::BadArgument)? {
        Some(pseudo) => pseudo.set(header, value),
        None => changed(acceptable(name, value) && header.append(name, value)),
    }
}

pub(super) fn replace(
    header: &mut Header<'_>,
    map: HeaderMap,
    name: &[u8],
    value: &[u8],
) -> Result<(), Status> {
    match pseudo(map, name).map_err(|_| Status::BadArgument)? {
        Some(pseudo) => pseudo.set(header, value),
        None => changed(acceptable(name, value) && header.replace(name, value)),
    }
}

pub(super) fn remove(header: &mut Header<'_>, name: &[u8]) -> Result<(), Status> {
    // A start line cannot lose a part.
    if name.first() == Some(&b':') {
        return Err(Status::BadArgument);
    }
    header.remove(name);
    Ok(())
}

pub(super) fn set_all(
    header: &mut Header<'_>,
    map: HeaderMap,
    pairs: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), Status> {
    // All or nothing, as far as that can be known before.
    for (name, value) in pairs {
        match pseudo(map, name).map_err(|_| Status::BadArgument)? {
            Some(Pseudo::Status) => changed(super::pseudo::status_of(value).is_some())?,
            Some(_) => {}
            None => changed(acceptable(name, value))?,
        }
    }
    header.clear();
    for (name, value) in pairs {
        add(header, map, name, value)?;
    }
    Ok(())
}

fn changed(done: bool) -> Result<(), Status> {
    if done { Ok(()) } else { Err(Status::BadArgument) }
}

/// Bytes of a field's name: `token` of RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut place = 0;
    while place < others.len() {
        token[others[place] as usize] = true;
        place += 1;
    }
    token
};

/// A field that would change what the other side reads as the next one is refused.
pub(crate) fn acceptable(name: &[u8], value: &[u8]) -> bool {
    let broken = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)]) && !value.iter().any(broken)
}

/// Whether no body follows the request's headers.
pub(crate) fn request_ends_here(request: &Header<'_>) -> bool {
    if request.find_known(WellKnown::TransferEncoding).is_some() {
        return false;
    }
    request.find_known(WellKnown::ContentLength).is_none_or(|length| length.value() == b"0")
}

/// Whether no body follows the response's headers.
pub(crate) fn response_ends_here(txn: &Txn, response: &Header<'_>) -> bool {
    if matches!(response.status(), 100..=199 | 204 | 304) {
        return true;
    }
    if response.find_known(WellKnown::ContentLength).is_some_and(|length| length.value() == b"0") {
        return true;
    }
    txn.client_request().is_some_and(|request| request.method() == b"HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_smuggle_another() {
        assert!(acceptable(b"x-token", b"7"));
        assert!(!acceptable(b"x-token", b"7\r\nSet-Cookie: a"));
        assert!(!acceptable(b"x token", b"7"));
        assert!(!acceptable(b"", b"7"));
    }
}
