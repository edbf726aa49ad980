//! Pseudo-headers: the parts of a start line under the names that HTTP/2 gave them.

use wasmdbg_proxy_wasm::{Part, Pseudo, Status};

use crate::ts::{Header, HeaderMut, WellKnown};

/// Appends the value of a pseudo-header. `header` is of its direction.
pub(super) fn get(pseudo: Pseudo, header: &Header<'_>, value: &mut Vec<u8>) -> Result<(), Status> {
    match pseudo {
        Pseudo::Method => value.extend_from_slice(header.method()),
        Pseudo::Path => path(header, value)?,
        Pseudo::Authority => authority(header, value)?,
        Pseudo::Scheme => value.extend_from_slice(scheme(header)),
        Pseudo::Status => value.extend_from_slice(header.status().to_string().as_bytes()),
    }
    Ok(())
}

/// Sets a part of the start line. `header` is of its direction.
pub(super) fn set(part: Part<'_>, header: &mut HeaderMut<'_>) -> Result<(), Status> {
    done(match part {
        Part::Method(method) => header.set_method(method),
        Part::Path { path, query } => set_url_path(header, path) && set_query(header, query),
        Part::UrlPath(path) => set_url_path(header, path),
        Part::Query(query) => set_query(header, query),
        Part::Authority(authority) => set_authority(header, authority),
        Part::Scheme(scheme) => header.url_mut().is_some_and(|mut url| url.set_scheme(scheme)),
        Part::Status(status) => header.set_status(status),
        Part::Reason(reason) => header.set_reason(reason),
        Part::Unchanged => true,
        Part::Field { .. } => false,
    })
}

/// What a function of the server says of its success, as the guest gets it.
pub(super) fn done(done: bool) -> Result<(), Status> {
    if done { Ok(()) } else { Err(Status::BadArgument) }
}

/// `/path;parameters?query`.
pub(super) fn path(request: &Header<'_>, value: &mut Vec<u8>) -> Result<(), Status> {
    if request.method() == b"CONNECT" {
        return Err(Status::NotFound);
    }
    url_path(request, value)?;
    let url = request.url().ok_or(Status::NotFound)?;
    let query = url.query();
    if !query.is_empty() {
        value.push(b'?');
        value.extend_from_slice(query);
    }
    Ok(())
}

/// `/path;parameters`.
pub(super) fn url_path(request: &Header<'_>, value: &mut Vec<u8>) -> Result<(), Status> {
    let url = request.url().ok_or(Status::NotFound)?;
    value.push(b'/');
    value.extend_from_slice(url.path());
    if let Some(parameters) = url.parameters().filter(|parameters| !parameters.is_empty()) {
        value.push(b';');
        value.extend_from_slice(parameters);
    }
    Ok(())
}

fn set_url_path(request: &mut HeaderMut<'_>, path: &[u8]) -> bool {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    request.url_mut().is_some_and(|mut url| url.set_path(path))
}

fn set_query(request: &mut HeaderMut<'_>, query: &[u8]) -> bool {
    let Some(mut url) = request.url_mut() else { return false };
    url.query() == query || url.set_query(query)
}

/// `Host`, else what the URL names.
pub(super) fn authority(request: &Header<'_>, value: &mut Vec<u8>) -> Result<(), Status> {
    if let Some(host) = request.find_known(WellKnown::Host) {
        value.extend_from_slice(host.value());
        return Ok(());
    }
    let host = request.host();
    if host.is_empty() {
        return Err(Status::NotFound);
    }
    value.extend_from_slice(host);
    let Some(url) = request.url() else { return Ok(()) };
    if !matches!((url.scheme(), url.port()), (_, 0) | (b"http", 80) | (b"https", 443)) {
        value.extend_from_slice(format!(":{}", url.port()).as_bytes());
    }
    Ok(())
}

fn set_authority(request: &mut HeaderMut<'_>, value: &[u8]) -> bool {
    // An absolute request line wins over the field, so both must say the same.
    if let Some(mut url) = request.url_mut().filter(|url| !url.host().is_empty()) {
        let (host, port) = split_authority(value);
        if !url.set_host(host) || !url.set_port(port.unwrap_or(0)) {
            return false;
        }
    }
    request.replace(b"Host", value)
}

/// `host:port`, `[v6]:port`.
fn split_authority(authority: &[u8]) -> (&[u8], Option<u16>) {
    let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let colon = authority.len() - digits;
    let port = std::str::from_utf8(&authority[colon..]).ok().and_then(|text| text.parse().ok());
    match authority[..colon].split_last() {
        Some((b':', host)) if digits > 0 && (!host.contains(&b':') || host.ends_with(b"]")) => (host, port),
        _ => (authority, None),
    }
}

/// The URL's scheme; before the server has filled it in, what the client's connection says.
pub(super) fn scheme(request: &Header<'_>) -> &'static [u8] {
    let named = request
        .url()
        .map(|url| url.scheme() == b"https")
        .filter(|_| request.url().is_some_and(|url| !url.scheme().is_empty()));
    let secure = named.unwrap_or_else(|| {
        let mut tls = false;
        request.access().client_protocols(|name| tls |= name.starts_with(b"tls"));
        tls
    });
    if secure { b"https" } else { b"http" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_splits_at_its_port() {
        assert_eq!(split_authority(b"example.com:81"), (&b"example.com"[..], Some(81)));
        assert_eq!(split_authority(b"example.com"), (&b"example.com"[..], None));
        assert_eq!(split_authority(b"host7"), (&b"host7"[..], None));
        assert_eq!(split_authority(b"[::1]:8080"), (&b"[::1]"[..], Some(8080)));
        assert_eq!(split_authority(b"[::1]"), (&b"[::1]"[..], None));
        assert_eq!(split_authority(b"::1"), (&b"::1"[..], None));
    }
}
