//! Responses that are made here instead of by the cache or the origin.

use wasmdbg_proxy_wasm::part::{has_body, is_framing};
use wasmdbg_proxy_wasm::{HeaderMap, LocalResponse, Part};

use crate::transaction;
use crate::ts::Access;

/// Header fields of a response of a filter, set when the server has built the rest of it.
#[derive(Debug)]
pub(crate) struct Answer {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answer {
    /// Makes `response` the transaction's response. What is left to do is setting its fields.
    pub(crate) fn give(access: &mut Access<'_>, response: LocalResponse) -> Self {
        let LocalResponse { status, body, headers, .. } = response;
        let status = u16::try_from(status).ok().filter(|status| (200..=999).contains(status)).unwrap_or(500);
        let mut content_type = None;
        let mut fields = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            // A field that may not go out is left out: the answer itself matters more.
            if is_framing(&name) || Part::field(&name, &value).is_none() {
                continue;
            }
            if name.eq_ignore_ascii_case(b"content-type") {
                content_type = Some(value);
            } else {
                fields.push((name, value));
            }
        }
        // The server would send one with 204 and 304 as well, and the client read it as the next response.
        let body = if has_body(status) { body } else { Vec::new() };
        // Filters may have written into the response that this one replaces.
        transaction::forget(access, HeaderMap::ResponseHeaders);
        access.set_status(status);
        access.set_body(&body, content_type.as_deref().unwrap_or(b"text/plain"));
        Self { fields }
    }

    /// In SEND_RESPONSE_HDR: a field of the filter takes the place of the server's own.
    pub(crate) fn set_fields(self, access: &mut Access<'_>) {
        let Some(mut response) = access.client_response_mut() else { return };
        // The server says it of its own error pages.
        response.remove(b"Content-Language");
        for (place, (name, _)) in self.fields.iter().enumerate() {
            let first = !self.fields[..place].iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if first {
                response.remove(name);
            }
        }
        for (name, value) in &self.fields {
            response.append(name, value);
        }
    }
}

/// What a client gets where a filter that must run cannot.
pub(crate) fn unavailable() -> LocalResponse {
    LocalResponse {
        status: 503,
        details: b"filter_failed".to_vec(),
        body: b"a filter of this proxy cannot run\n".to_vec(),
        headers: Vec::new(),
    }
}

/// `proxy_close_stream`: the server can close a connection only behind a response.
pub(crate) fn refuse(access: &mut Access<'_>) {
    access.set_status(503);
    access.set_body(b"", b"text/plain");
}
