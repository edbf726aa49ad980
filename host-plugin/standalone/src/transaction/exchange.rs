//! A request and its response as the filter sees them. Both lanes hold it; each call locks it for its own
//! length.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{request, response};
use hyper::ext::ReasonPhrase;
use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::{HeaderMap, Headers, OwnProperties, Pseudo, RequestFacts, Status, Transaction};

use super::fields::{Field, Fields, changes};
use super::properties;
use super::state::{ExchangeState, Peers};
use crate::report::{Change, Side};

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: TransactionId,
    state: Mutex<ExchangeState>,
}

impl Exchange {
    pub(crate) fn new(id: TransactionId, request: &request::Parts, peers: Peers) -> Arc<Self> {
        let host = request.headers.get(http::header::HOST).map(|host| host.as_bytes().to_vec());
        let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes().to_vec());
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        let pseudo = vec![
            (Pseudo::Method, request.method.as_str().into()),
            (Pseudo::Path, path.into()),
            (Pseudo::Authority, authority.or(host).unwrap_or_default()),
            (Pseudo::Scheme, b"http".to_vec()),
        ];
        let protocol = match request.version {
            http::Version::HTTP_2 => "HTTP/2",
            http::Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let state = ExchangeState {
            request: Fields::new(HeaderMap::RequestHeaders, pseudo, &request.headers),
            response: None,
            peers,
            upstream: None,
            protocol,
            started: SystemTime::now(),
            own: OwnProperties::default(),
        };
        Arc::new(Self { id, state: Mutex::new(state) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ExchangeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response is there, of the upstream or of the filter.
    pub(crate) fn set_response(&self, response: &response::Parts) {
        let pseudo = vec![(Pseudo::Status, response.status.as_str().into())];
        let mut fields = Fields::new(HeaderMap::ResponseHeaders, pseudo, &response.headers);
        let reason = response.extensions.get::<ReasonPhrase>();
        fields.reason = reason.map(|reason| reason.as_bytes().to_vec());
        self.lock().response = Some(fields);
    }

    pub(crate) fn facts(&self) -> RequestFacts {
        let state = self.lock();
        RequestFacts {
            method: state.request.text(b":method"),
            path: state.request.text(b":path"),
            client: state.peers.client.map(|client| client.ip()),
            client_port: state.peers.client.map_or(0, |client| client.port()),
        }
    }

    /// Both maps, to be compared later.
    pub(crate) fn copy(&self) -> (Fields, Option<Fields>) {
        let state = self.lock();
        (state.request.clone(), state.response.clone())
    }

    /// What has changed since `before` was copied.
    pub(crate) fn changes(&self, before: &(Fields, Option<Fields>)) -> Vec<Change> {
        let state = self.lock();
        let mut told = changes(Side::Request, &before.0, &state.request);
        if let (Some(old), Some(new)) = (&before.1, &state.response) {
            told.extend(changes(Side::Response, old, new));
        }
        told
    }
}

/// The transaction of a stream context.
pub(crate) struct ExchangeTransaction {
    exchange: Arc<Exchange>,
    request: Message,
    response: Message,
}

impl ExchangeTransaction {
    pub(crate) fn new(exchange: &Arc<Exchange>) -> Self {
        let exchange = || Arc::clone(exchange);
        Self {
            request: Message { exchange: exchange(), side: Side::Request },
            response: Message { exchange: exchange(), side: Side::Response },
            exchange: exchange(),
        }
    }
}

impl Transaction for ExchangeTransaction {
    fn id(&self) -> TransactionId {
        self.exchange.id
    }

    fn facts(&mut self) -> RequestFacts {
        self.exchange.facts()
    }

    fn headers(&mut self, map: HeaderMap) -> Result<&mut dyn Headers, Status> {
        match map {
            HeaderMap::RequestHeaders => Ok(&mut self.request),
            HeaderMap::ResponseHeaders => Ok(&mut self.response),
            HeaderMap::RequestTrailers | HeaderMap::ResponseTrailers => Err(Status::BadArgument),
        }
    }

    fn property(&mut self, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status> {
        properties::get(&self.exchange.lock(), path, value)
    }

    fn set_property(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Status> {
        properties::set(&mut self.exchange.lock(), path, value)
    }

    fn own_properties(&mut self, work: &mut dyn FnMut(&OwnProperties)) {
        work(&self.exchange.lock().own);
    }

    fn own_properties_mut(&mut self, work: &mut dyn FnMut(&mut OwnProperties)) {
        work(&mut self.exchange.lock().own);
    }
}

/// A request or its response, as a transaction lends it.
struct Message {
    exchange: Arc<Exchange>,
    side: Side,
}

impl Message {
    fn with<T>(&self, work: impl FnOnce(&mut Fields) -> Result<T, Status>) -> Result<T, Status> {
        let mut state = self.exchange.lock();
        match self.side {
            Side::Request => work(&mut state.request),
            Side::Response => work(state.response.as_mut().ok_or(Status::BadArgument)?),
        }
    }
}

impl Headers for Message {
    fn get(&mut self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        self.with(|fields| {
            value.extend_from_slice(&fields.get(name).ok_or(Status::NotFound)?);
            Ok(())
        })
    }

    fn pairs(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status> {
        self.with(|fields| {
            fields.all().for_each(|(name, value)| each(name, value));
            Ok(())
        })
    }

    fn count(&mut self) -> Result<u32, Status> {
        self.with(|fields| Ok(fields.count()))
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.with(|fields| fields.add(name, value))
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.with(|fields| fields.replace(name, value))
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        self.with(|fields| fields.remove(name))
    }

    fn set_all(&mut self, pairs: &[Field]) -> Result<(), Status> {
        self.with(|fields| fields.set_all(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_that_of_the_request() {
        for (version, name) in [
            (http::Version::HTTP_10, "HTTP/1.0"),
            (http::Version::HTTP_11, "HTTP/1.1"),
            (http::Version::HTTP_2, "HTTP/2"),
        ] {
            let (request, ()) = http::Request::builder().version(version).body(()).unwrap().into_parts();
            let exchange = Exchange::new(TransactionId(1), &request, Peers::default());
            let mut value = Vec::new();
            ExchangeTransaction::new(&exchange).property(&[b"request", b"protocol"], &mut value).unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), name);
        }
    }
}
