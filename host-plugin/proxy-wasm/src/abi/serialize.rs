//! The ABI's encoding of header maps: a count, the lengths of all names and values, then the names and
//! values themselves, each with a NUL behind it; numbers are 32 bits, little endian.

use crate::embedder::{Headers, Status};
use crate::vm::guest::read_u32;

/// Serializes `headers` into `scratch`. `lengths` is only there to be reused.
pub(super) fn serialize(
    headers: &mut dyn Headers,
    scratch: &mut Vec<u8>,
    lengths: &mut Vec<(u32, u32)>,
) -> Result<(), Status> {
    scratch.clear();
    lengths.clear();
    // Most maps fit; if not, the buffer grows once and stays that large.
    let mut too_long = false;
    headers.pairs(&mut |name, value| {
        let (Ok(name_size), Ok(value_size)) = (u32::try_from(name.len()), u32::try_from(value.len())) else {
            too_long = true;
            return;
        };
        lengths.push((name_size, value_size));
        scratch.extend_from_slice(name);
        scratch.push(0);
        scratch.extend_from_slice(value);
        scratch.push(0);
    })?;
    let count = u32::try_from(lengths.len()).map_err(|_| Status::SerializationFailure)?;
    if too_long {
        return Err(Status::SerializationFailure);
    }
    // The lengths go before the bytes, and are known only now.
    let body = scratch.len();
    let head = 4 + 8 * lengths.len();
    scratch.resize(head + body, 0);
    scratch.copy_within(..body, head);
    let (head, _) = scratch.split_at_mut(head);
    let mut words = head.chunks_exact_mut(4);
    let numbers = std::iter::once(count).chain(lengths.iter().flat_map(|(name, value)| [*name, *value]));
    for (word, number) in words.by_ref().zip(numbers) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    Ok(())
}

/// Names and values in order.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The pairs of a serialized map. An empty input is an empty map. PARSE_FAILURE when it cannot be read,
/// BAD_ARGUMENT when there are more than `fields`, or
/// more than `size` bytes.
pub(super) fn deserialize(bytes: &[u8], fields: usize, size: u64) -> Result<Pairs, Status> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let number = |at: usize| {
        let at = u32::try_from(at).map_err(|_| Status::ParseFailure)?;
        read_u32(bytes, at).map(|number| number as usize).map_err(|_| Status::ParseFailure)
    };
    let count = number(0)?;
    let mut at = count.checked_mul(8).and_then(|size| size.checked_add(4)).ok_or(Status::ParseFailure)?;
    if at > bytes.len() {
        return Err(Status::ParseFailure);
    }
    if count > fields || bytes.len() as u64 > size {
        return Err(Status::BadArgument);
    }
    let mut take = |size: usize| {
        let end = at.checked_add(size).ok_or(Status::ParseFailure)?;
        let text = bytes.get(at..end).ok_or(Status::ParseFailure)?;
        if bytes.get(end) != Some(&0) {
            return Err(Status::ParseFailure);
        }
        at = end + 1;
        Ok(text.to_vec())
    };
    (0..count)
        .map(|pair| {
            let name = take(number(4 + 8 * pair)?)?;
            let value = take(number(8 + 8 * pair)?)?;
            Ok((name, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deserialize(bytes: &[u8]) -> Result<Pairs, Status> {
        super::deserialize(bytes, 500, 1 << 20)
    }

    #[test]
    fn truncated_and_overlong_maps_are_refused() {
        let good = b"\x01\0\0\0\x01\0\0\0\x02\0\0\0k\0vv\0";
        assert_eq!(deserialize(good), Ok(vec![(b"k".to_vec(), b"vv".to_vec())]));
        for end in 1..good.len() {
            assert_eq!(deserialize(&good[..end]), Err(Status::ParseFailure), "{end} bytes");
        }
        assert_eq!(deserialize(b"\xff\xff\xff\xff"), Err(Status::ParseFailure));
        assert_eq!(deserialize(b"\x01\0\0\0\xff\xff\xff\xff\0\0\0\0k\0\0"), Err(Status::ParseFailure));
        assert_eq!(deserialize(b""), Ok(vec![]));
        assert_eq!(deserialize(b"\0\0\0\0"), Ok(vec![]));
    }
}
