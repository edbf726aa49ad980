//! Numbers in the recording file: LEB128 without a sign, and the checksum of records.

/// FNV-1a with 32 bits: finds a torn or damaged record; it is no protection against a forger.
pub(super) fn checksum(tag: u8, payload: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    payload.iter().fold(step(0x811c_9dc5, &tag), step)
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

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

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
    }
}
