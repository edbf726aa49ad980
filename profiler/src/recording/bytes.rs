//! Numbers in the recording file: LEB128 without a sign, and the checksum of records.

/// FNV-1a with 64 bits, of words instead of bytes, which is eight times as fast: the tag, then the payload by
/// eight bytes, the last of them filled up with zeros; both halves of the result. Finds a torn or damaged
/// record; it is no protection against a forger.
pub(super) fn checksum(tag: u8, payload: &[u8]) -> u32 {
    let step = |hash: u64, word: [u8; 8]| (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
    let (words, rest) = payload.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = step(0xcbf2_9ce4_8422_2325, u64::from(tag).to_le_bytes());
    let hash = step(words.iter().copied().fold(start, step), last);
    (hash ^ hash >> 32) as u32
}

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Signed numbers alternate: 0, -1, 1, -2, …
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what the functions above write; `None` at the end or at damage.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        // Nearly all numbers have two bytes at most, and there are millions of them.
        let (value, rest) = match *self.0 {
            [a @ 0..0x80, ref rest @ ..] => (u64::from(a), rest),
            [a, b @ 0..0x80, ref rest @ ..] => (u64::from(a & 0x7f) | u64::from(b) << 7, rest),
            _ => return self.long_number(),
        };
        self.0 = rest;
        Some(value)
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub(super) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A count of things that take at least a byte each.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut out = Vec::new();
        for value in [0, 1, 127, 128, 1 << 40, u64::MAX] {
            put(&mut out, value);
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            put_signed(&mut out, value);
        }
        put_text(&mut out, "ä");
        let mut cursor = Cursor(&out);
        let numbers: Vec<_> = (0..6).map(|_| cursor.number().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 127, 128, 1 << 40, u64::MAX]);
        let signed: Vec<_> = (0..5).map(|_| cursor.signed().unwrap()).collect();
        assert_eq!(signed, [0, -1, 1, i64::MIN, i64::MAX]);
        assert_eq!(cursor.text().as_deref(), Some("ä"));
        assert!(cursor.is_empty() && cursor.number().is_none());
        assert_eq!(Cursor(&[0xff; 11]).number(), None);
        assert_eq!(Cursor(&[0xff; 5]).number(), None);
    }

    #[test]
    fn every_bit_counts_for_the_checksum() {
        let payload: Vec<u8> = (0..21).collect();
        let sum = checksum(1, &payload);
        assert_ne!(checksum(2, &payload), sum);
        for bit in 0..payload.len() * 8 {
            let mut changed = payload.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(1, &changed), sum, "bit {bit}");
        }
    }
}
