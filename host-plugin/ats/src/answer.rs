//! Responses that are made here instead of by the cache or the origin.

use wasmdbg_proxy_wasm::LocalResponse;

use crate::transaction::acceptable;
use crate::ts::Txn;

/// Header fields of a response of a filter, set when the server has built the rest of it.
#[derive(Debug)]
pub(crate) struct Answer {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Answer {
    /// Makes `response` the transaction's response. What is left to do is setting its fields.
    pub(crate) fn give(txn: Txn, response: LocalResponse) -> Self {
        let LocalResponse { status, body, headers, .. } = response;
        let status = u16::try_from(status).ok().filter(|status| (200..=999).contains(status)).unwrap_or(500);
        let mut content_type = None;
        let mut fields = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(b"content-type") && acceptable(&name, &value) {
                content_type = Some(value);
            } else if !is_framing(&name) && acceptable(&name, &value) {
                fields.push((name, value));
            }
        }
        txn.set_status(status);
        txn.set_body(&body, content_type.as_deref().unwrap_or(b"text/plain"));
        Self { fields }
    }

    /// In SEND_RESPONSE_HDR: a field of the filter takes the place of the server's own.
    pub(crate) fn set_fields(self, txn: Txn) {
        let Some(mut response) = txn.client_response() else { return };
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

/// Fields that say how the message is framed belong to the server; pseudo-headers are no fields.
fn is_framing(name: &[u8]) -> bool {
    let framing: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"connection", b"keep-alive"];
    name.first() == Some(&b':') || framing.iter().any(|own| name.eq_ignore_ascii_case(own))
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
pub(crate) fn refuse(txn: Txn) {
    txn.set_status(503);
    txn.set_body(b"", b"text/plain");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_belongs_to_the_server() {
        assert!(is_framing(b"Content-Length"));
        assert!(is_framing(b":status"));
        assert!(!is_framing(b"x-content-length"));
    }
}
