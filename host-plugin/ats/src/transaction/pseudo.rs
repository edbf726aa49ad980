//! Pseudo-headers: the parts of a start line under the names that HTTP/2 gave them.

use wasmdbg_proxy_wasm::Status;

use crate::ts::{Header, Txn, WellKnown};

/// A pseudo-header of a request, or `:status` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pseudo {
    Method,
    Path,
    Authority,
    Scheme,
    Status,
}

/// Those of a request, in the order in which maps list them.
pub(super) const OF_REQUEST: [Pseudo; 4] = [Pseudo::Method, Pseudo::Scheme, Pseudo::Authority, Pseudo::Path];

impl Pseudo {
    /// None for a field's name. A pseudo-header of the other direction is not found later.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":authority" => Self::Authority,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Method => b":method",
            Self::Path => b":path",
            Self::Authority => b":authority",
            Self::Scheme => b":scheme",
            Self::Status => b":status",
        }
    }

    pub(super) fn of_request(self) -> bool {
        self != Self::Status
    }

    /// Appends its value. `header` is of its direction.
    pub(super) fn get(self, txn: &Txn, header: &Header<'_>, value: &mut Vec<u8>) -> Result<(), Status> {
        match self {
            Self::Method => value.extend_from_slice(header.method()),
            Self::Path => path(header, value)?,
            Self::Authority => authority(header, value)?,
            Self::Scheme => value.extend_from_slice(scheme(txn, header)),
            Self::Status => value.extend_from_slice(header.status().to_string().as_bytes()),
        }
        Ok(())
    }

    /// Sets it. `header` is of its direction.
    pub(super) fn set(self, header: &mut Header<'_>, value: &[u8]) -> Result<(), Status> {
        let done = match self {
            Self::Method => !value.is_empty() && header.set_method(value),
            Self::Path => set_path(header, value),
            Self::Authority => set_authority(header, value),
            Self::Scheme => header.url().is_some_and(|mut url| url.set_scheme(value)),
            Self::Status => status_of(value).is_some_and(|status| header.set_status(status)),
        };
        if done { Ok(()) } else { Err(Status::BadArgument) }
    }
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
    let path = url.path();
    if path != b"*" {
        value.push(b'/');
    }
    value.extend_from_slice(path);
    if let Some(parameters) = url.parameters().filter(|parameters| !parameters.is_empty()) {
        value.push(b';');
        value.extend_from_slice(parameters);
    }
    Ok(())
}

fn set_path(request: &mut Header<'_>, value: &[u8]) -> bool {
    let (path, query) = match value.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&value[..mark], &value[mark + 1..]),
        None => (value, &b""[..]),
    };
    set_url_path(request, path) && set_query(request, query)
}

pub(super) fn set_url_path(request: &mut Header<'_>, path: &[u8]) -> bool {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    request.url().is_some_and(|mut url| url.set_path(path))
}

pub(super) fn set_query(request: &mut Header<'_>, query: &[u8]) -> bool {
    let Some(mut url) = request.url() else { return false };
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

fn set_authority(request: &mut Header<'_>, value: &[u8]) -> bool {
    if value.is_empty() {
        return false;
    }
    // An absolute request line wins over the field, so both must say the same.
    if let Some(mut url) = request.url().filter(|url| !url.host().is_empty()) {
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
pub(super) fn scheme(txn: &Txn, request: &Header<'_>) -> &'static [u8] {
    let named = request
        .url()
        .map(|url| url.scheme() == b"https")
        .filter(|_| request.url().is_some_and(|url| !url.scheme().is_empty()));
    let secure = named.unwrap_or_else(|| {
        let mut tls = false;
        txn.client_protocols(|name| tls |= name.starts_with(b"tls"));
        tls
    });
    if secure { b"https" } else { b"http" }
}

/// A status as text.
pub(super) fn status_of(text: &[u8]) -> Option<u16> {
    let status = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (100..=999).contains(&status).then_some(status)
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

    #[test]
    fn a_status_has_three_digits() {
        assert_eq!(status_of(b"403"), Some(403));
        assert_eq!(status_of(b"99"), None);
        assert_eq!(status_of(b"abc"), None);
    }
}
