//! A transaction as the ABI sees it.
//!
//! Owns the meaning of header maps, pseudo-headers and properties in terms of the server's objects.
//! Keeps no handle and no slice between calls, and never decides how a transaction goes on.

mod framing;
mod maps;
mod properties;
mod pseudo;

use std::cell::Cell;

use wasmdbg_control::TransactionId;
use wasmdbg_proxy_wasm::{HeaderMap, RequestFacts, Status, Transaction};

use crate::ts::{Guard, Txn};

pub(crate) use self::framing::{Framing, forget};
use self::maps::Map;
pub(crate) use self::maps::{request_ends_here, response_ends_here};

thread_local! {
    /// The transaction whose hook runs on this thread: its mutex is held.
    static IN_HOOK: Cell<Option<Txn>> = const { Cell::new(None) };
}

/// While it lives, `txn`'s mutex is held by the server for this thread.
pub(crate) struct InHook {
    before: Option<Txn>,
}

impl InHook {
    /// Called first thing in a hook of `txn`; hooks nest when one re-enables another transaction.
    pub(crate) fn enter(txn: Txn) -> Self {
        Self { before: IN_HOOK.replace(Some(txn)) }
    }
}

impl Drop for InHook {
    fn drop(&mut self) {
        IN_HOOK.set(self.before);
    }
}

/// The transaction of one stream context. A context is deleted before its transaction ends, in both
/// lanes: the hook of TXN_CLOSE is not re-enabled earlier.
#[derive(Debug)]
pub(crate) struct StreamTransaction {
    txn: Txn,
    id: TransactionId,
}

impl StreamTransaction {
    pub(crate) fn new(txn: Txn) -> Self {
        Self { txn, id: TransactionId(txn.id()) }
    }

    /// Takes the transaction's mutex for the length of one call, unless this thread's hook has it.
    fn access(&self) -> Access {
        let held = IN_HOOK.get() == Some(self.txn);
        Access { txn: self.txn, _guard: if held { None } else { self.txn.lock() } }
    }
}

/// A transaction that may be read and changed.
struct Access {
    txn: Txn,
    _guard: Option<Guard>,
}

impl Access {
    #[inline(always)]
    fn map(&self, map: HeaderMap) -> Result<Map<'_>, Status> {
        Map::new(&self.txn, map).ok_or(Status::BadArgument)
    }
}

impl Transaction for StreamTransaction {
    fn id(&self) -> TransactionId {
        self.id
    }

    fn facts(&mut self) -> RequestFacts {
        let access = self.access();
        facts(access.txn)
    }

    fn header(&mut self, map: HeaderMap, name: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        self.access().map(map)?.get(name, value)
    }

    fn pairs(&mut self, map: HeaderMap, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Status> {
        self.access().map(map)?.pairs(each);
        Ok(())
    }

    fn header_count(&mut self, map: HeaderMap) -> Result<u32, Status> {
        Ok(self.access().map(map)?.count())
    }

    fn add_header(&mut self, map: HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.access().map(map)?.add(name, value)
    }

    fn replace_header(&mut self, map: HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.access().map(map)?.replace(name, value)
    }

    fn remove_header(&mut self, map: HeaderMap, name: &[u8]) -> Result<(), Status> {
        self.access().map(map)?.remove(name)
    }

    fn set_pairs(&mut self, map: HeaderMap, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Status> {
        self.access().map(map)?.set_all(pairs)
    }

    fn property(&mut self, path: &[&[u8]], value: &mut Vec<u8>) -> Result<(), Status> {
        let access = self.access();
        properties::get(access.txn, path, value)
    }

    fn set_property(&mut self, path: &[&[u8]], value: &[u8]) -> Result<(), Status> {
        let access = self.access();
        properties::set(access.txn, path, value)
    }
}

/// What rules and the debugger ask, read in a hook of `txn` or with its mutex held.
pub(crate) fn facts(txn: Txn) -> RequestFacts {
    let client = txn.client_address();
    let (mut method, mut path) = (String::new(), String::new());
    if let Some(request) = txn.client_request() {
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
