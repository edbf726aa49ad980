//! What a stopped callback works on: the header maps and properties of its transaction, as its host
//! functions would see them. Only looks.
#![forbid(unsafe_code)]

use wasmdbg_control::stream::{Field, Property, StreamState};

use crate::embedder::{HeaderMap, Transaction};
use crate::state::VmState;

/// How a property is encoded.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// 64 bits, little endian.
    Integer,
    /// One byte.
    Bool,
}

/// The properties that hosts may have (the attributes of the ABI's specification).
const PROPERTIES: [(&str, Kind); 30] = [
    ("request.method", Kind::Text),
    ("request.scheme", Kind::Text),
    ("request.host", Kind::Text),
    ("request.path", Kind::Text),
    ("request.url_path", Kind::Text),
    ("request.query", Kind::Text),
    ("request.protocol", Kind::Text),
    ("request.id", Kind::Text),
    ("request.referer", Kind::Text),
    ("request.useragent", Kind::Text),
    ("request.time", Kind::Integer),
    ("request.duration", Kind::Integer),
    ("request.size", Kind::Integer),
    ("request.total_size", Kind::Integer),
    ("response.code", Kind::Integer),
    ("response.size", Kind::Integer),
    ("response.total_size", Kind::Integer),
    ("source.address", Kind::Text),
    ("source.port", Kind::Integer),
    ("destination.address", Kind::Text),
    ("destination.port", Kind::Integer),
    ("connection.id", Kind::Integer),
    ("connection.mtls", Kind::Bool),
    ("connection.requested_server_name", Kind::Text),
    ("connection.tls_version", Kind::Text),
    ("upstream.address", Kind::Text),
    ("upstream.port", Kind::Integer),
    ("upstream.local_address", Kind::Text),
    ("upstream.local_port", Kind::Integer),
    ("upstream.tls_version", Kind::Text),
];

/// Everything about the context that host functions act on now.
pub(crate) fn read(vm: &mut VmState) -> StreamState {
    let config = &vm.core.config;
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let filter = vec![
        setting("name", &config.name),
        setting("root_id", &config.root_id),
        setting("vm_id", &config.vm_id),
        setting("configuration", &config.configuration),
        setting("vm_configuration", &config.vm_configuration),
        setting("module_path", &config.module_path.to_string_lossy()),
        setting("fail_open", if config.fail_open { "true" } else { "false" }),
    ];
    let Ok(transaction) = vm.contexts.transaction() else {
        return StreamState { request_headers: None, response_headers: None, properties: Vec::new(), filter };
    };
    StreamState {
        request_headers: fields(transaction, HeaderMap::RequestHeaders),
        response_headers: fields(transaction, HeaderMap::ResponseHeaders),
        properties: properties(transaction),
        filter,
    }
}

fn fields(transaction: &mut dyn Transaction, map: HeaderMap) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut take = |name: &[u8], value: &[u8]| fields.push((text(name), text(value)));
    transaction.pairs(map, &mut take).ok()?;
    Some(fields)
}

fn properties(transaction: &mut dyn Transaction) -> Vec<(String, Property)> {
    let mut found = Vec::new();
    let mut value = Vec::new();
    for (path, kind) in PROPERTIES {
        value.clear();
        let segments: Vec<_> = path.split('.').map(str::as_bytes).collect();
        if transaction.property(&segments, &mut value).is_err() {
            continue;
        }
        let value = match (kind, value.as_slice()) {
            (Kind::Integer, bytes) if bytes.len() == 8 => {
                Property::Integer(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
            }
            (Kind::Bool, [byte]) => Property::Bool(*byte != 0),
            (_, bytes) => Property::Text(text(bytes)),
        };
        found.push((path.to_owned(), value));
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
