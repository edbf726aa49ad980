//! One request from its headers to its response: the filter, the upstream, the filter again.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, response};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::ext::ReasonPhrase;
use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::part::{has_body, is_framing};
use wasmdbg_proxy_wasm::{Callback, LocalResponse, Part};

use crate::process::worker::Worker;
use crate::report::Happening;
use crate::transaction::exchange::Exchange;
use crate::transaction::fields::Fields;
use crate::transaction::flow::{Flow, Next};
use crate::transaction::state::Peers;
use crate::upstream::{Body, empty, full};

/// Fields that belong to one connection (RFC 9110, 7.6.1).
const OF_CONNECTION: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// A response, and the context that ends with its body.
pub(crate) struct Served {
    pub(crate) response: Response<Body>,
    pub(crate) flow: Flow,
    pub(crate) transaction: TransactionId,
}

/// Serves a request. Dropped before its end: the client is gone.
pub(crate) async fn serve(worker: &Rc<Worker>, request: Request<Body>, peers: Peers) -> Served {
    let shared = &worker.shared;
    let id = TransactionId(shared.last_id.fetch_add(1, Ordering::Relaxed) + 1);
    let (parts, body) = request.into_parts();
    let exchange = Exchange::new(id, &parts, peers);
    if shared.report.wants_callbacks() {
        let facts = exchange.facts();
        shared.report.take(Happening::Started { transaction: id, method: facts.method, path: facts.path });
    }
    let (mut flow, mut next) = Flow::begin(worker, &exchange).await;
    if let Next::Pass = next {
        next = flow.call(Callback::RequestHeaders { end_of_stream: body.is_end_stream() }).await;
    }
    let (mut parts, mut body) = match next {
        Next::Pass => forward(worker, &exchange, body).await,
        Next::Respond(local) => answer(local),
        Next::Close => return refused(flow, id),
    };
    exchange.set_response(&parts);
    match flow.call(Callback::ResponseHeaders { end_of_stream: body.is_end_stream() }).await {
        Next::Pass => {
            if let Some(fields) = &exchange.lock().response {
                parts.status = fields.text(b":status").parse().unwrap_or(parts.status);
                parts.headers = headers(fields);
                parts.extensions.remove::<ReasonPhrase>();
                let reason = fields.reason.as_deref().and_then(|reason| ReasonPhrase::try_from(reason).ok());
                if let Some(reason) = reason {
                    parts.extensions.insert(reason);
                }
            }
        }
        Next::Respond(local) => (parts, body) = answer(local),
        Next::Close => return refused(flow, id),
    }
    Served { response: Response::from_parts(parts, body), flow, transaction: id }
}

async fn forward(worker: &Worker, exchange: &Exchange, body: Body) -> (response::Parts, Body) {
    let answer = match &worker.pool {
        // The simplest origin there is.
        None => Ok((Response::new(empty()), None)),
        Some(pool) => match upstream_request(exchange, body) {
            Ok(request) => pool.send(request).await.map(|(response, address)| {
                (response.map(|body| body.map_err(Into::into).boxed_unsync()), address)
            }),
            Err(why) => Err(why),
        },
    };
    if worker.shared.report.wants_callbacks() {
        worker.shared.report.take(Happening::Upstream {
            transaction: exchange.id,
            answer: answer.as_ref().map(|(response, _)| response.status().as_u16()).map_err(Clone::clone),
        });
    }
    match answer {
        Ok((response, address)) => {
            exchange.lock().upstream = address;
            let (mut parts, body) = response.into_parts();
            for name in OF_CONNECTION {
                parts.headers.remove(name);
            }
            // The client's connection may speak another version.
            parts.version = http::Version::HTTP_11;
            (parts, body)
        }
        Err(why) => plain(StatusCode::BAD_GATEWAY, format!("{why}\n").into_bytes()),
    }
}

/// The request as the filter left it.
fn upstream_request(exchange: &Exchange, body: Body) -> Result<Request<Body>, String> {
    let seen = exchange.lock();
    let fields = &seen.request;
    let mut request = Request::new(body);
    let fault = |what: &str| format!("the filter has left no {what}");
    *request.method_mut() = fields.text(b":method").parse().map_err(|_| fault("method"))?;
    *request.uri_mut() =
        fields.get(b":path").unwrap_or_default().as_slice().try_into().map_err(|_| fault("path"))?;
    *request.headers_mut() = headers(fields);
    if let Ok(host) = HeaderValue::from_str(&fields.text(b":authority"))
        && !host.is_empty()
    {
        request.headers_mut().insert(http::header::HOST, host);
    }
    Ok(request)
}

/// The fields that go out, but those of one connection.
fn headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.outgoing() {
        append(&mut headers, name, value);
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// A field that the library cannot hold does not go out: it came from a client as it was.
fn append(headers: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        headers.append(name, value);
    }
}

/// The filter's own response.
fn answer(local: LocalResponse) -> (response::Parts, Body) {
    let status = u16::try_from(local.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = if has_body(status.as_u16()) { local.body } else { Vec::new() };
    let (mut parts, body) = plain(status, body);
    for (name, value) in &local.headers {
        let of_connection = OF_CONNECTION.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        if !of_connection && !is_framing(name) && Part::field(name, value).is_some() {
            append(&mut parts.headers, name, value);
        }
    }
    (parts, body)
}

fn plain(status: StatusCode, body: Vec<u8>) -> (response::Parts, Body) {
    let mut response = Response::new(full(Bytes::from(body)));
    *response.status_mut() = status;
    response.into_parts()
}

/// `proxy_close_stream`: the connection is closed behind a response.
fn refused(flow: Flow, transaction: TransactionId) -> Served {
    let (mut parts, body) = plain(StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    Served { response: Response::from_parts(parts, body), flow, transaction }
}

/// Counts a transaction while it lives.
pub(crate) struct Counted(Arc<crate::process::shared::Shared>);

impl Counted {
    pub(crate) fn new(worker: &Worker) -> Self {
        worker.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&worker.shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
