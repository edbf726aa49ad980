//! What a stopped callback works on: the header maps and properties of its transaction, as its host
//! functions would see them. Only looks.
use wasmdbg_control::MAX_LIST;
use wasmdbg_control::codec::fitting;
use wasmdbg_control::stream::{Field, Property, StreamState};
use wasmdbg_control::text::cut;

use crate::embedder::{HeaderMap, Transaction};
use crate::vm::state::VmState;

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
const PROPERTIES: [(&str, Kind); 47] = [
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
    ("request.headers_bytes", Kind::Integer),
    ("response.code", Kind::Integer),
    ("response.code_details", Kind::Text),
    ("response.grpc_status", Kind::Integer),
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
    ("connection.subject_local_certificate", Kind::Text),
    ("connection.subject_peer_certificate", Kind::Text),
    ("connection.dns_san_local_certificate", Kind::Text),
    ("connection.dns_san_peer_certificate", Kind::Text),
    ("connection.uri_san_local_certificate", Kind::Text),
    ("connection.uri_san_peer_certificate", Kind::Text),
    ("connection.sha256_peer_certificate_digest", Kind::Text),
    ("upstream.address", Kind::Text),
    ("upstream.port", Kind::Integer),
    ("upstream.local_address", Kind::Text),
    ("upstream.local_port", Kind::Integer),
    ("upstream.tls_version", Kind::Text),
    ("upstream.subject_local_certificate", Kind::Text),
    ("upstream.subject_peer_certificate", Kind::Text),
    ("upstream.dns_san_local_certificate", Kind::Text),
    ("upstream.dns_san_peer_certificate", Kind::Text),
    ("upstream.uri_san_local_certificate", Kind::Text),
    ("upstream.uri_san_peer_certificate", Kind::Text),
    ("upstream.sha256_peer_certificate_digest", Kind::Text),
];

/// Characters of one value; what filters keep in a field can be of any length.
const VALUE: usize = 32_000;

/// Bytes of JSON that each of the four lists may take.
const LIST: usize = MAX_LIST / 4;

/// What stands for values that do not fit.
const LEFT_OUT: &str = "…";

/// Everything about the context that host functions act on now.
///
/// `further`: paths of properties besides those that hosts usually have.
pub(crate) fn read(vm: &mut VmState, further: &[String]) -> StreamState {
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
    let own = [
        setting("plugin_name", &config.name),
        setting("plugin_root_id", &config.root_id),
        setting("plugin_vm_id", &config.vm_id),
    ];
    let mut properties: Vec<_> = own.into_iter().map(|(name, value)| (name, Property::Text(value))).collect();
    let Ok(transaction) = vm.contexts.transaction() else {
        return StreamState {
            request_headers: None,
            response_headers: None,
            properties,
            filter: bounded(filter),
        };
    };
    let known = PROPERTIES.iter().map(|(path, kind)| (*path, *kind));
    let further = further.iter().map(|path| (path.as_str(), Kind::Text));
    for (path, kind) in known.chain(further) {
        properties.extend(property(transaction, path, kind).map(|value| (path.to_owned(), value)));
    }
    transaction.own_properties(&mut |own| {
        // Names of several segments have dots, as those of hosts do.
        let own =
            own.iter().map(|(path, value)| (text(path).replace('\0', "."), Property::Text(text(value))));
        properties.extend(own);
    });
    StreamState {
        request_headers: fields(transaction, HeaderMap::RequestHeaders),
        response_headers: fields(transaction, HeaderMap::ResponseHeaders),
        properties: bounded(properties),
        filter: bounded(filter),
    }
}

/// The values that fit, and in the place of the others how many they are.
fn bounded<V: Shown>(values: Vec<(String, V)>) -> Vec<(String, V)> {
    let shown = values.into_iter().map(|(name, value)| (cut(&name, VALUE).into_owned(), value.shown()));
    let (mut fit, rest) = fitting(shown.collect(), LIST);
    if rest > 0 {
        fit.push((LEFT_OUT.to_owned(), V::of_text(format!("{rest} more do not fit this answer"))));
    }
    fit
}

/// A value in a list.
trait Shown: serde::Serialize {
    /// As much of it as is shown.
    fn shown(self) -> Self;
    fn of_text(text: String) -> Self;
}

impl Shown for String {
    fn shown(self) -> Self {
        cut(&self, VALUE).into_owned()
    }

    fn of_text(text: String) -> Self {
        text
    }
}

impl Shown for Property {
    fn shown(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.shown()),
            other => other,
        }
    }

    fn of_text(text: String) -> Self {
        Self::Text(text)
    }
}

fn fields(transaction: &mut dyn Transaction, map: HeaderMap) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut take = |name: &[u8], value: &[u8]| fields.push((text(name), text(value)));
    transaction.headers(map).ok()?.pairs(&mut take).ok()?;
    Some(bounded(fields))
}

/// `None`: it has no value now.
fn property(transaction: &mut dyn Transaction, path: &str, kind: Kind) -> Option<Property> {
    let mut value = Vec::new();
    transaction.property(&segments(path), &mut value).ok()?;
    Some(match (kind, value.as_slice()) {
        (Kind::Integer, bytes) if bytes.len() == 8 => {
            Property::Integer(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
        }
        (Kind::Bool, [byte]) => Property::Bool(*byte != 0),
        (_, bytes) => Property::Text(text(bytes)),
    })
}

/// The segments of a path with dots. A header's name, the last one, can have dots itself.
fn segments(path: &str) -> Vec<&[u8]> {
    let maps = ["request.headers.", "request.trailers.", "response.headers.", "response.trailers."];
    let limit = if maps.iter().any(|map| path.starts_with(map)) { 3 } else { usize::MAX };
    path.splitn(limit, '.').map(str::as_bytes).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
