//! Owns the places a variable can be in, and the reading of its bytes there.

use super::machine::{Machine, Unreadable};

/// Where a variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In linear memory.
    Memory(u64),
    /// Not in memory: these bytes, little-endian; may be longer than the type (a `bool` in an i32 local).
    Value(Vec<u8>),
    /// In parts.
    Pieces(Vec<Piece>),
    /// The compiler kept no value here.
    OptimizedOut,
    /// There is a value that cannot be read, and why.
    Unreadable(Unreadable),
}

/// A part of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Size in bits; `None` for the rest.
    pub bits: Option<u64>,
    /// First bit within the place that counts.
    pub bit_offset: u64,
    /// The place; never [`Location::Pieces`].
    pub place: Location,
}

impl Location {
    pub(crate) fn unreadable(reason: impl Into<String>) -> Location {
        Location::Unreadable(Unreadable(reason.into()))
    }

    /// The bytes of a value of `size` bytes at this location, read in full.
    ///
    /// # Errors
    /// When a part is optimised out or cannot be read, or the location has fewer bytes than the type.
    pub fn bytes(&self, size: usize, machine: &dyn Machine) -> Result<Vec<u8>, Unreadable> {
        match self {
            // A value without bytes, such as Rust's `()`, is known wherever it is.
            _ if size == 0 => Ok(Vec::new()),
            Location::Memory(address) => machine.memory(*address, size),
            Location::Value(bytes) => match bytes.get(..size) {
                Some(low) => Ok(low.to_vec()),
                None => Err(Unreadable(format!("the compiler describes {} bytes of {size}", bytes.len()))),
            },
            Location::Pieces(pieces) => join_pieces(pieces, size, machine),
            Location::OptimizedOut => Err(Unreadable("optimized out".into())),
            Location::Unreadable(reason) => Err(reason.clone()),
        }
    }
}

/// A value in parts that is larger than this comes from broken debug info: compilers split small ones.
const MOST_IN_PIECES: usize = 1 << 20;

/// Puts pieces together, bit by bit when a piece does not end on a byte.
fn join_pieces(pieces: &[Piece], size: usize, machine: &dyn Machine) -> Result<Vec<u8>, Unreadable> {
    if size > MOST_IN_PIECES {
        return Err(Unreadable(format!("its parts make {size} bytes")));
    }
    let mut out = vec![0; size];
    let mut at = 0;
    let all = size as u64 * 8;
    for piece in pieces {
        let bits = piece.bits.unwrap_or(all).min(all.saturating_sub(at));
        if bits == 0 {
            break;
        }
        let needed = piece.bit_offset.checked_add(bits).map(|end| end.div_ceil(8));
        let needed = needed.and_then(|needed| usize::try_from(needed).ok());
        let needed = needed.ok_or_else(|| Unreadable("a part of it begins nowhere".into()))?;
        let bytes = piece.place.bytes(needed, machine)?;
        for bit in 0..bits {
            let (from, to) = (piece.bit_offset + bit, at + bit);
            let set = bytes[(from / 8) as usize] >> (from % 8) & 1;
            out[(to / 8) as usize] |= set << (to % 8);
        }
        at += bits;
    }
    if at < all { Err(Unreadable("partly optimized out".into())) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::super::machine::WasmValue;
    use super::*;

    struct Memory(Vec<u8>);

    impl Machine for Memory {
        fn local(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("no local".into()))
        }
        fn operand(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("no operand".into()))
        }
        fn global(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("no global".into()))
        }
        fn stack_pointer(&self) -> Result<u32, Unreadable> {
            Err(Unreadable("no stack pointer".into()))
        }
        fn memory(&self, address: u64, len: usize) -> Result<Vec<u8>, Unreadable> {
            let start = address as usize;
            self.0.get(start..start + len).map(<[u8]>::to_vec).ok_or_else(|| Unreadable("outside".into()))
        }
    }

    fn piece(bits: u64, place: Location) -> Piece {
        Piece { bits: Some(bits), bit_offset: 0, place }
    }

    #[test]
    fn a_value_longer_than_its_type_is_cut() {
        let memory = Memory(vec![]);
        assert_eq!(Location::Value(vec![1, 0, 0, 0]).bytes(1, &memory), Ok(vec![1]));
        assert!(Location::Value(vec![1, 0, 0, 0]).bytes(8, &memory).is_err());
    }

    #[test]
    fn pieces_come_from_memory_and_values() {
        let memory = Memory(vec![9, 8, 7, 6, 5]);
        let pieces = vec![piece(16, Location::Memory(1)), piece(32, Location::Value(vec![1, 2, 3, 4]))];
        assert_eq!(Location::Pieces(pieces).bytes(6, &memory), Ok(vec![8, 7, 1, 2, 3, 4]));
    }

    #[test]
    fn bits_are_packed() {
        let memory = Memory(vec![]);
        let pieces = vec![piece(4, Location::Value(vec![0x0a])), piece(4, Location::Value(vec![0x05]))];
        assert_eq!(Location::Pieces(pieces).bytes(1, &memory), Ok(vec![0x5a]));
    }

    #[test]
    fn numbers_that_no_piece_has_are_errors() {
        let far = Piece { bits: Some(8), bit_offset: u64::MAX - 3, place: Location::Value(vec![1, 2]) };
        assert!(Location::Pieces(vec![far]).bytes(1, &Memory(vec![])).is_err());
        let one = piece(8, Location::Value(vec![1]));
        assert!(Location::Pieces(vec![one]).bytes(usize::MAX / 4, &Memory(vec![])).is_err());
    }

    #[test]
    fn a_missing_piece_is_an_error_not_a_zero() {
        let memory = Memory(vec![]);
        let pieces = vec![piece(32, Location::OptimizedOut), piece(32, Location::Value(vec![1, 2, 3, 4]))];
        assert!(Location::Pieces(pieces.clone()).bytes(8, &memory).is_err());
        assert!(Location::Pieces(pieces[1..].to_vec()).bytes(8, &memory).is_err(), "shorter than the type");
    }
}
