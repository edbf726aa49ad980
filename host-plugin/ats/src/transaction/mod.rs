//! A transaction as the ABI sees it.
//!
//! Owns the meaning of header maps, pseudo-headers and properties in terms of the server's objects, and lends
//! the maps of both messages. Keeps no handle and no slice between calls, and never decides how a transaction goes on.

mod certificate;
mod framing;
mod left;
mod maps;
mod properties;
mod pseudo;

use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::{HeaderMap, Headers, OwnProperties, RequestFacts, Status, Transaction};

use crate::ts::{Access, Lease, Locked};

pub(crate) use self::framing::forget;
pub(crate) use self::left::end;
use self::maps::Map;
pub(crate) use self::maps::{request_ends_here, response_ends_here};

/// The transaction of one stream context. A context is deleted before its transaction ends, in both
/// lanes: the hook of TXN_CLOSE is not re-enabled earlier.
#[derive(Debug)]
pub(crate) struct StreamTransaction {
    id: TransactionId,
    lease: Lease,
    request: Message,
    response: Message,
}

/// One message of it, as it is lent.
#[derive(Debug)]
struct Message {
    lease: Lease,
    map: HeaderMap,
}

impl StreamTransaction {
    pub(crate) fn new(access: &Access<'_>) -> Self {
        Self {
            id: TransactionId(access.id()),
            lease: access.lease(),
            request: Message { lease: access.lease(), map: HeaderMap::RequestHeaders },
            response: Message { lease: access.lease(), map: HeaderMap::ResponseHeaders },
        }
    }

    /// The transaction for the length of one call.
    fn access(&mut self) -> Locked<'_> {
        self.lease.access()
    }
}

impl Transaction for StreamTransaction {
    fn id(&self) -> TransactionId {
        self.id
    }

    fn facts(&mut self) -> RequestFacts {
        facts(&self.access())
    }

    fn headers(&mut self, map: HeaderMap) -> Result<&mut dyn Headers, Status> {
        match map {
            HeaderMap::RequestHeaders => Ok(&mut self.request),
            HeaderMap::ResponseHeaders => Ok(&mut self.response),
            // The server has no interface for trailers.
            HeaderMap::RequestTrailers | HeaderMap::ResponseTrailers => Err(Status::BadArgument),
        }
    }

    fn property(&mut self, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status> {
        properties::get(&mut self.access(), path, value)
    }

    fn set_property(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Status> {
        properties::set(&mut self.access(), path, value)
    }

    fn own_properties(&mut self, work: &mut dyn FnMut(&OwnProperties)) {
        left::properties(self.access().txn(), work);
    }

    fn own_properties_mut(&mut self, work: &mut dyn FnMut(&mut OwnProperties)) {
        left::properties_mut(self.access().txn(), work);
    }
}

/// The map for the length of one call.
#[inline(always)]
fn map<'txn>(access: &'txn mut Access<'_>, map: HeaderMap) -> Result<Map<'txn>, Status> {
    Map::new(access, map).ok_or(Status::BadArgument)
}

impl Headers for Message {
    fn get(&mut self, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.get(name, value)
    }

    fn pairs(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.pairs(each);
        Ok(())
    }

    fn count(&mut self) -> Result<u32, Status> {
        Ok(map(&mut self.lease.access(), self.map)?.count())
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.add(name, value)
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.replace(name, value)
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.remove(name)
    }

    fn set_all(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status> {
        map(&mut self.lease.access(), self.map)?.set_all(pairs)
    }
}

/// What rules and the debugger ask.
pub(crate) fn facts(access: &Access<'_>) -> RequestFacts {
    let client = access.client_address();
    let (mut method, mut path) = (String::new(), String::new());
    if let Some(request) = access.client_request() {
        method = String::from_utf8_lossy(request.method()).into_owned();
        let mut text = Vec::new();
        // A CONNECT request has no path: the empty text says so.
        let _ = pseudo::path(&request, &mut text);
        path = String::from_utf8_lossy(&text).into_owned();
    }
    RequestFacts {
        method,
        path,
        client: client.map(|client| client.address),
        client_port: client.map_or(0, |client| client.port),
    }
}
