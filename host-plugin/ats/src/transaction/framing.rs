//! What filters have written into the fields that frame a message or speak of its connection: it reads back
//! for all filters of the transaction, and the server's own go out.

use wasmdbg_proxy_wasm::part::is_framing;
use wasmdbg_proxy_wasm::{HeaderMap, Status};

use super::left;
use crate::ts::{Access, Header};

/// Bytes that the view of one map may take: these fields are short, and this memory is ours.
const LIMIT: usize = 0x1_0000;

/// A name and a value.
type Field = (Vec<u8>, Vec<u8>);

/// The framing fields of one header map as filters see them.
pub(super) type View = Vec<Field>;

/// The fields as filters see them; none when they are those of the header.
#[inline]
pub(super) fn written(map: HeaderMap, header: &Header<'_>) -> Option<View> {
    if left::is_empty() { None } else { view_of(map, header) }
}

#[cold]
fn view_of(map: HeaderMap, header: &Header<'_>) -> Option<View> {
    left::view(header.access(), map)
}

/// Changes what filters see.
///
/// # Errors
/// It would grow beyond [`LIMIT`].
pub(super) fn write(
    map: HeaderMap,
    header: &Header<'_>,
    change: impl FnOnce(&mut View),
) -> Result<(), Status> {
    let before = view_of(map, header).unwrap_or_else(|| own(header));
    let mut fields = before.clone();
    change(&mut fields);
    let fits = size(&fields) <= size(&before).max(LIMIT);
    left::set_view(header.access(), map, Some(if fits { fields } else { before }));
    if fits { Ok(()) } else { Err(Status::BadArgument) }
}

/// Bytes of names and values, and some for each field itself.
fn size(fields: &[Field]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
}

/// Filters see `fields` from here on.
pub(super) fn replace_all(map: HeaderMap, header: &Header<'_>, fields: View) {
    let differs = own(header) != fields;
    if differs || !left::is_empty() {
        left::set_view(header.access(), map, differs.then_some(fields));
    }
}

/// The message of `map` is another one: what was written into the old one is gone.
pub(crate) fn forget(access: &Access<'_>, map: HeaderMap) {
    if !left::is_empty() {
        left::set_view(access, map, None);
    }
}

/// The framing fields that the header has.
pub(super) fn own(header: &Header<'_>) -> View {
    let mut fields = Vec::new();
    let mut next = header.first();
    while let Some(field) = next {
        if is_framing(field.name()) {
            fields.push((field.name().to_vec(), field.value().to_vec()));
        }
        next = field.next();
    }
    fields
}
