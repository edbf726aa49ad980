//! Where a value's bytes come from: linear memory, or bytes that the machine does not hold in memory,
//! perhaps with parts missing. Owns reading and slicing of both.

use std::ops::Range;
use std::sync::Arc;

use wasmdbg_symbols::{Location, Machine};

use super::state::ValueState;
use crate::target::Target;

/// The place of a value.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An address in linear memory.
    Memory(u64),
    /// Bytes from Wasm locals, the operand stack or the debug info itself.
    Bytes {
        bytes: Arc<[u8]>,
        /// Parts that are not there.
        holes: Arc<[Hole]>,
        /// Where the value begins.
        offset: usize,
    },
    /// Nowhere, and why.
    Missing(ValueState),
}

/// A part of a value that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    range: Range<usize>,
    state: ValueState,
}

/// A value in parts that is larger than this comes from broken debug info: compilers split small ones.
const MOST_IN_PIECES: usize = 1 << 20;

impl Place {
    /// The place that a DWARF location means, for a value of `size` bytes.
    pub(crate) fn new(location: &Location, size: Option<u64>, machine: &dyn Machine) -> Self {
        match location {
            Location::Memory(address) => Self::Memory(*address),
            Location::Value(bytes) => Self::whole(bytes.as_slice()),
            Location::OptimizedOut => Self::Missing(ValueState::OptimizedOut),
            Location::Unreadable(why) => Self::Missing(why.clone().into()),
            Location::Pieces(_) => match size.and_then(|size| usize::try_from(size).ok()) {
                Some(size) if size <= MOST_IN_PIECES => Self::in_pieces(location, size, machine),
                Some(size) => Self::Missing(ValueState::unreadable(format!("its parts make {size} bytes"))),
                None => Self::Missing(ValueState::unreadable("it is in parts and its size is unknown")),
            },
        }
    }

    pub(crate) fn whole(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes { bytes: bytes.into(), holes: Arc::from([]), offset: 0 }
    }

    fn in_pieces(location: &Location, size: usize, machine: &dyn Machine) -> Self {
        let Location::Pieces(pieces) = location else {
            return Self::Missing(ValueState::unreadable("it is not in parts"));
        };
        if let Ok(bytes) = location.bytes(size, machine) {
            return Self::whole(bytes);
        }
        let mut bytes = Vec::with_capacity(size);
        let mut holes = Vec::new();
        for piece in pieces {
            let rest = size - bytes.len();
            let length = piece.bits.map_or(rest, |bits| (bits / 8) as usize).min(rest);
            let whole_bytes = piece.bits.is_none_or(|bits| bits % 8 == 0) && piece.bit_offset == 0;
            let state = match &piece.place {
                Location::OptimizedOut => ValueState::OptimizedOut,
                Location::Unreadable(why) => why.clone().into(),
                _ if !whole_bytes => ValueState::unreadable("a part of it is not of whole bytes"),
                place => match place.bytes(length, machine) {
                    Ok(part) => {
                        bytes.extend(part);
                        continue;
                    }
                    Err(why) => why.into(),
                },
            };
            holes.push(Hole { range: bytes.len()..bytes.len() + length, state });
            bytes.resize(bytes.len() + length, 0);
        }
        // Pieces that end early leave the rest of the value without a place.
        if bytes.len() < size {
            holes.push(Hole { range: bytes.len()..size, state: ValueState::OptimizedOut });
            bytes.resize(size, 0);
        }
        match holes.first() {
            Some(first) if holes.iter().map(|hole| hole.range.len()).sum::<usize>() == bytes.len() => {
                Self::Missing(first.state.clone())
            }
            _ => Self::Bytes { bytes: bytes.into(), holes: holes.into(), offset: 0 },
        }
    }

    /// The place of a part `offset` bytes into this one.
    pub(crate) fn at(&self, by: u64) -> Self {
        match self {
            Self::Memory(address) => Self::Memory(address.wrapping_add(by)),
            Self::Bytes { bytes, holes, offset } => Self::Bytes {
                bytes: Arc::clone(bytes),
                holes: Arc::clone(holes),
                offset: usize::try_from(by).map_or(usize::MAX, |by| offset.saturating_add(by)),
            },
            Self::Missing(state) => Self::Missing(state.clone()),
        }
    }

    /// Its first `size` bytes.
    pub(crate) fn read(&self, target: Option<&Target>, size: u64) -> Result<Vec<u8>, ValueState> {
        match self {
            Self::Memory(address) => {
                let target = target.ok_or_else(|| ValueState::unreadable("there is no memory"))?;
                Ok(target.read(*address, size)?)
            }
            Self::Bytes { bytes, holes, offset } => {
                let end = usize::try_from(size).ok().and_then(|size| offset.checked_add(size));
                let range = *offset..end.unwrap_or(usize::MAX);
                let overlaps = |hole: &&Hole| hole.range.start < range.end && range.start < hole.range.end;
                if let Some(hole) = holes.iter().find(overlaps) {
                    return Err(hole.state.clone());
                }
                let found = bytes.get(range).map(<[u8]>::to_vec);
                found.ok_or_else(|| ValueState::unreadable("the debug info describes only a part of it"))
            }
            Self::Missing(state) => Err(state.clone()),
        }
    }

    pub(crate) fn address(&self) -> Option<u64> {
        match self {
            Self::Memory(address) => Some(*address),
            Self::Bytes { .. } | Self::Missing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmdbg_symbols::{Piece, Unreadable, WasmValue};

    use super::*;

    /// No machine state at all.
    struct Nothing;

    impl Machine for Nothing {
        fn local(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("nothing".into()))
        }
        fn operand(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("nothing".into()))
        }
        fn global(&self, _: u32) -> Result<WasmValue, Unreadable> {
            Err(Unreadable("nothing".into()))
        }
        fn stack_pointer(&self) -> Result<u32, Unreadable> {
            Err(Unreadable("nothing".into()))
        }
        fn memory(&self, _: u64, _: usize) -> Result<Vec<u8>, Unreadable> {
            Err(Unreadable("nothing".into()))
        }
    }

    #[test]
    fn pieces_that_end_early_leave_the_rest_optimised_out() {
        let piece = |place| Piece { bits: Some(32), bit_offset: 0, place };
        let location = Location::Pieces(vec![piece(Location::Value(vec![1, 2, 3, 4]))]);
        let place = Place::new(&location, Some(8), &Nothing);
        assert_eq!(place.read(None, 4), Ok(vec![1, 2, 3, 4]));
        assert_eq!(place.at(4).read(None, 4), Err(ValueState::OptimizedOut));
        let location = Location::Pieces(vec![piece(Location::OptimizedOut)]);
        let place = Place::new(&location, Some(8), &Nothing);
        assert_eq!(place.read(None, 4), Err(ValueState::OptimizedOut));
    }

    #[test]
    fn a_size_that_no_value_has_is_not_taken_from_the_heap() {
        let pieces = vec![Piece { bits: Some(8), bit_offset: 0, place: Location::Value(vec![1]) }];
        for size in [u64::MAX, 1 << 60, 1 << 21] {
            let place = Place::new(&Location::Pieces(pieces.clone()), Some(size), &Nothing);
            assert!(matches!(place, Place::Missing(ValueState::Unreadable(_))), "{size}");
        }
    }

    #[test]
    fn a_part_is_read_where_the_whole_has_a_hole() {
        let hole = Hole { range: 4..8, state: ValueState::OptimizedOut };
        let place =
            Place::Bytes { bytes: Arc::from([7, 0, 0, 0, 0, 0, 0, 0]), holes: Arc::from([hole]), offset: 0 };
        assert_eq!(place.read(None, 4), Ok(vec![7, 0, 0, 0]));
        assert_eq!(place.at(4).read(None, 4), Err(ValueState::OptimizedOut));
        assert_eq!(place.read(None, 8), Err(ValueState::OptimizedOut));
        assert!(matches!(place.at(8).read(None, 1), Err(ValueState::Unreadable(_))), "behind its end");
    }
}
