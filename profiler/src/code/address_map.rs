//! From an offset in compiled code to an offset in the `.wasm` file, as wasmtime writes it into an
//! image's `.wasmtime.addrmap`. Its encoding belongs to a version of wasmtime: others are refused.

use std::ops::Range;

use wasmdbg_symbols::ModulePc;

/// Entries by rising offset of the text: the code from there on comes from that place of the module, or
/// from none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressMap {
    entries: Vec<(u32, Option<ModulePc>)>,
}

/// Why a map cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressMapError {
    /// Not a version whose encoding is known.
    #[error(
        "the code was compiled by wasmtime {0}, whose address map this version of wasmprof cannot read: functions are named, lines are not"
    )]
    Version(String),
    /// Damaged.
    #[error("the address map is damaged at byte {0}")]
    Damaged(usize),
    /// More than any module has.
    #[error("the address map has {0} entries, more than {MOST}: functions are named, lines are not")]
    TooLarge(usize),
}

/// A module of 30 MB has some 10 million; each takes 12 bytes.
const MOST: usize = 1 << 24;

/// A place found by [`AddressMap::find`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where in the `.wasm` file.
    pub pc: ModulePc,
    /// The instruction itself has no place: this is the nearest one before it in its function.
    pub approximate: bool,
}

/// Entries in a block of the encoding.
const BLOCK: usize = 128;

impl AddressMap {
    /// Reads the section of an image that wasmtime `version` compiled.
    ///
    /// The encoding: entry count and block count (`u32`); for each block its first offset and where its
    /// entries begin (`u32` each); then per entry the distance to the last offset, shifted left by one, the
    /// lowest bit set when there is no position, and else the position: the first of a block as it is, later
    /// ones as signed distances. All LEB128.
    ///
    /// # Errors
    /// See [`AddressMapError`].
    pub fn decode(section: &[u8], version: &str) -> Result<Self, AddressMapError> {
        if version.split('.').next() != Some("48") {
            return Err(AddressMapError::Version(version.to_owned()));
        }
        let word = |at: usize| -> Result<usize, AddressMapError> {
            let bytes = section.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| u32::from_le_bytes(bytes) as usize).ok_or(AddressMapError::Damaged(at))
        };
        let (count, blocks) = (word(0)?, word(4)?);
        // An entry takes a byte at least: a larger count is damage, not a reason to reserve memory.
        if count > section.len() || blocks > section.len() / 8 || count.div_ceil(BLOCK) > blocks {
            return Err(AddressMapError::Damaged(0));
        }
        if count > MOST {
            return Err(AddressMapError::TooLarge(count));
        }
        let data = 8 + 8 * blocks;
        let mut entries = Vec::with_capacity(count);
        for block in 0..blocks {
            let mut offset = word(8 + 8 * block)? as u32;
            let begin = word(12 + 8 * block)?;
            let mut cursor = Cursor { bytes: section, at: data.saturating_add(begin) };
            let mut last: Option<u32> = None;
            for _ in 0..count.saturating_sub(BLOCK * block).min(BLOCK) {
                let step = cursor.unsigned()?;
                offset = offset.wrapping_add((step >> 1) as u32);
                if step & 1 == 1 {
                    entries.push((offset, None));
                    continue;
                }
                let position = match last {
                    None => cursor.unsigned()? as u32,
                    Some(last) => last.wrapping_add(cursor.signed()? as u32),
                };
                last = Some(position);
                entries.push((offset, Some(ModulePc(position))));
            }
        }
        Ok(Self::new(entries))
    }

    /// A map of these entries.
    #[must_use]
    pub fn new(mut entries: Vec<(u32, Option<ModulePc>)>) -> Self {
        if !entries.is_sorted_by_key(|entry| entry.0) {
            entries.sort_by_key(|entry| entry.0);
        }
        Self { entries }
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[(u32, Option<ModulePc>)] {
        &self.entries
    }

    /// The first place in a function, for its prologue, which has none of its own.
    #[must_use]
    pub fn first(&self, function: &Range<u32>) -> Option<Place> {
        let from = self.entries.partition_point(|entry| entry.0 < function.start);
        let inside = self.entries[from..].iter().take_while(|entry| entry.0 < function.end);
        inside.filter_map(|entry| entry.1).next().map(|pc| Place { pc, approximate: true })
    }

    /// The place of the instruction at `offset`, in the function that begins at `function`.
    #[must_use]
    pub fn find(&self, offset: u32, function: u32) -> Option<Place> {
        let end = self.entries.partition_point(|entry| entry.0 <= offset);
        let before = self.entries[..end].iter().rev().take_while(|entry| entry.0 >= function);
        for (distance, (_, position)) in before.enumerate() {
            if let Some(pc) = *position {
                return Some(Place { pc, approximate: distance > 0 });
            }
        }
        None
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, AddressMapError> {
        let byte = *self.bytes.get(self.at).ok_or(AddressMapError::Damaged(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    fn leb(&mut self) -> Result<(u64, u32, bool), AddressMapError> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            if shift >= 64 {
                return Err(AddressMapError::Damaged(self.at));
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok((value, shift, byte & 0x40 != 0));
            }
        }
    }

    fn unsigned(&mut self) -> Result<u64, AddressMapError> {
        self.leb().map(|found| found.0)
    }

    fn signed(&mut self) -> Result<i64, AddressMapError> {
        let (value, shift, negative) = self.leb()?;
        let extension = if negative && shift < 64 { u64::MAX << shift } else { 0 };
        Ok((value | extension) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks would need 129 entries; one block with every form of an entry is enough here.
    fn section() -> Vec<u8> {
        let mut out = Vec::new();
        for word in [4u32, 1, 0x10, 0] {
            out.extend(word.to_le_bytes());
        }
        // 0x10 -> 300; 0x14 -> 296 (-4); 0x18 -> none; 0x20 -> 297 (+1)
        out.extend([0x00, 0xac, 0x02, 4 << 1, 0x7c, 4 << 1 | 1, 8 << 1, 0x01]);
        out
    }

    #[test]
    fn entries_of_every_form() {
        let map = AddressMap::decode(&section(), "48.0.8").unwrap();
        let at = |pc| Some(ModulePc(pc));
        assert_eq!(map.entries(), [(0x10, at(300)), (0x14, at(296)), (0x18, None), (0x20, at(297))]);
    }

    #[test]
    fn the_nearest_earlier_place_of_the_same_function_counts() {
        let map = AddressMap::decode(&section(), "48").unwrap();
        let place = |offset, function| map.find(offset, function);
        assert_eq!(place(0x13, 0x10), Some(Place { pc: ModulePc(300), approximate: false }));
        assert_eq!(place(0x1c, 0x10), Some(Place { pc: ModulePc(296), approximate: true }));
        assert_eq!(place(0x1c, 0x18), None, "what is before the function is another one's");
        assert_eq!(place(0x0f, 0x00), None);
        let first = |function| map.first(&function).map(|place| (place.pc.0, place.approximate));
        assert_eq!(first(0x0c..0x14), Some((300, true)));
        assert_eq!(first(0x18..0x20), None);
        assert_eq!(first(0x18..0x21), Some((297, true)));
    }

    #[test]
    fn another_version_and_damage_are_errors() {
        let error = AddressMap::decode(&section(), "47.0.1").unwrap_err();
        assert!(error.to_string().contains("wasmtime 47.0.1"), "{error}");
        let whole = section();
        for end in 0..whole.len() {
            assert!(AddressMap::decode(&whole[..end], "48").is_err(), "{end} bytes");
        }
        let mut huge = whole;
        huge[..8].copy_from_slice(&[0xff; 8]);
        assert_eq!(AddressMap::decode(&huge, "48"), Err(AddressMapError::Damaged(0)));
        // An entry may have one byte, and takes twelve.
        let mut many = vec![0; 8 + 8 * (MOST / BLOCK + 1) + MOST + 1];
        many[..4].copy_from_slice(&(MOST as u32 + 1).to_le_bytes());
        many[4..8].copy_from_slice(&(MOST as u32 / BLOCK as u32 + 1).to_le_bytes());
        assert_eq!(AddressMap::decode(&many, "48"), Err(AddressMapError::TooLarge(MOST + 1)));
    }
}
