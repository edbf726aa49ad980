//! Owns the evaluation of DWARF locations against a stopped machine. Never guesses: what cannot be
//! told is [`Location::OptimizedOut`] or [`Location::Unreadable`], with the reason.

use gimli::AttributeValue;

use crate::debug_info::{DebugInfo, OpenUnit, Slice};
use crate::error::DebugInfoError;
use crate::symbols::Symbols;
use crate::variables::evaluate::Evaluator;
use crate::variables::scopes::Variable;
use crate::without_dwarf::named_locals;
use wasmdbg_code_address::{ModulePc, PcRange};

/// A value of the Wasm machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WasmValue {
    /// i32, as bits.
    I32(u32),
    /// i64, as bits.
    I64(u64),
    /// f32, as bits.
    F32(u32),
    /// f64, as bits.
    F64(u64),
    /// v128, little-endian.
    V128([u8; 16]),
}

/// Why something could not be read, in words for the user, without a final period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// One physical frame of a stopped machine. All methods answer for that frame.
pub trait Machine {
    /// A local, parameters first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn local(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// An operand, 0 at the bottom of the frame's operand stack.
    ///
    /// # Errors
    /// When it cannot be read, as when the stack is not that deep.
    fn operand(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// A global that is not the stack pointer: its present value.
    ///
    /// # Errors
    /// When it cannot be read.
    fn global(&self, index: u32) -> Result<WasmValue, Unreadable>;

    /// The stack pointer as this frame set it. For the innermost frame that is the global's value; for
    /// callers see [`Symbols::stack_pointers`], and an error when it is unknown there.
    ///
    /// # Errors
    /// When it cannot be told.
    fn stack_pointer(&self) -> Result<u32, Unreadable>;

    /// Linear memory.
    ///
    /// # Errors
    /// When the range is outside the memory or cannot be read.
    fn memory(&self, address: u64, len: usize) -> Result<Vec<u8>, Unreadable>;
}

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

impl Symbols {
    /// Where a variable of the frame `machine` is at `pc`. A location that the compiler gave for other
    /// pcs only is [`Location::OptimizedOut`].
    #[must_use]
    pub fn locate(&self, variable: &Variable, pc: ModulePc, machine: &dyn Machine) -> Location {
        self.try_locate(variable, pc, machine).unwrap_or_else(|e| Location::unreadable(e.to_string()))
    }

    fn try_locate(
        &self,
        variable: &Variable,
        pc: ModulePc,
        machine: &dyn Machine,
    ) -> Result<Location, DebugInfoError> {
        let Some(info) = &self.info else { return Ok(Location::OptimizedOut) };
        if !info.has_entries() {
            return Ok(named_locals::locate(variable, machine));
        }
        let unit = info.unit_of(variable.entry).unwrap_or(u32::MAX);
        let open = info.open(unit)?;
        let fail = open.fail(variable.entry);
        let entry = open.unit.entry(open.local(variable.entry)?).map_err(&fail)?;
        if let Some(value) = entry.attr(gimli::DW_AT_const_value) {
            return Ok(constant(&open, value));
        }
        let Some(attribute) = entry.attr_value(gimli::DW_AT_location) else {
            return Ok(Location::OptimizedOut);
        };
        let Some(described) = pick(info, &open, attribute, pc).map_err(&fail)? else {
            return Ok(Location::OptimizedOut);
        };
        if let Some(reason) = self.out_of_date(variable, pc, &described, open.unit.encoding()) {
            return Ok(Location::Unreadable(reason));
        }
        let frame = variable.instance.and_then(|instance| {
            let entries = info.entries(instance.unit).ok()?;
            Some(entries.nodes.get(entries.root(instance.node) as usize)?.entry)
        });
        let evaluator = Evaluator { symbols: self, open: &open, pc, machine, frame };
        Ok(evaluator.evaluate(described.expression))
    }

    /// The variable's location as DWARF has it, in words, for a user who wants to judge it.
    #[must_use]
    pub fn describe_location(&self, variable: &Variable, pc: ModulePc) -> String {
        self.try_describe(variable, pc).unwrap_or_else(|e| e.to_string())
    }

    fn try_describe(&self, variable: &Variable, pc: ModulePc) -> Result<String, DebugInfoError> {
        let none = || Ok(String::from("no location"));
        let Some(info) = &self.info else { return none() };
        if !info.has_entries() {
            return Ok(format!("local {}", variable.entry));
        }
        let open = info.open(info.unit_of(variable.entry).unwrap_or(u32::MAX))?;
        let fail = open.fail(variable.entry);
        let entry = open.unit.entry(open.local(variable.entry)?).map_err(&fail)?;
        if entry.has_attr(gimli::DW_AT_const_value) {
            return Ok("a constant (DW_AT_const_value)".into());
        }
        let Some(attribute) = entry.attr_value(gimli::DW_AT_location) else { return none() };
        let Some(described) = pick(info, &open, attribute, pc).map_err(&fail)? else {
            return Ok("no location at this pc".into());
        };
        let mut words = Vec::new();
        let mut operations = described.expression.operations(open.unit.encoding());
        while let Some(operation) = operations.next().map_err(&fail)? {
            words.push(operation_in_words(&operation));
        }
        Ok(if words.is_empty() { "an empty location".into() } else { words.join(", ") })
    }
}

/// What a location attribute says for a pc.
pub(crate) struct Described<'a> {
    pub(crate) expression: gimli::Expression<Slice<'a>>,
    /// Where it holds; `None`: throughout the variable's scope.
    pub(crate) range: Option<PcRange>,
}

/// Picks the expression that a location attribute has for a pc.
pub(crate) fn pick<'a>(
    info: &DebugInfo,
    open: &OpenUnit<'a>,
    attribute: AttributeValue<Slice<'a>>,
    pc: ModulePc,
) -> Result<Option<Described<'a>>, gimli::Error> {
    if let AttributeValue::Exprloc(expression) = attribute {
        return Ok(Some(Described { expression, range: None }).filter(|d| !d.expression.0.is_empty()));
    }
    let refs = open.refs();
    let Some(mut list) = refs.attr_locations(attribute)? else { return Ok(None) };
    while let Some(entry) = list.next()? {
        let range = info.code.module_range(entry.range.begin..entry.range.end);
        if let Some(range) = range.filter(|range| range.contains(pc)) {
            let described = Described { expression: entry.data, range: Some(range) };
            return Ok(Some(described).filter(|d| !d.expression.0.is_empty()));
        }
    }
    Ok(None)
}

/// DW_AT_const_value.
fn constant(open: &OpenUnit<'_>, attribute: &gimli::Attribute<Slice<'_>>) -> Location {
    match attribute.value() {
        AttributeValue::Block(bytes) => Location::Value(bytes.to_vec()),
        AttributeValue::Exprloc(expression) => Location::Value(expression.0.to_vec()),
        AttributeValue::String(string) => Location::Value(string.to_vec()),
        // 16 bytes, sign-extended: the type says how many count.
        _ => match (attribute.sdata_value(), attribute.udata_value()) {
            (Some(value), _) => Location::Value(i128::from(value).to_le_bytes().to_vec()),
            (None, Some(value)) => Location::Value(u128::from(value).to_le_bytes().to_vec()),
            (None, None) => {
                let reason =
                    format!("a constant in form {} of DWARF {}", attribute.form(), open.slot.version);
                Location::unreadable(reason)
            }
        },
    }
}

fn operation_in_words(operation: &gimli::Operation<Slice<'_>>) -> String {
    use gimli::Operation as Op;
    match operation {
        Op::FrameOffset { offset } => format!("frame base {offset:+}"),
        Op::WasmLocal { index } => format!("local {index}"),
        Op::WasmGlobal { index } => format!("global {index}"),
        Op::WasmStack { index } => format!("operand {index}"),
        Op::Address { address } => format!("address {address:#x}"),
        Op::PlusConstant { value } => format!("+{value}"),
        Op::UnsignedConstant { value } => format!("constant {value}"),
        Op::SignedConstant { value } => format!("constant {value}"),
        Op::StackValue => "is the value".into(),
        Op::Deref { size, .. } => format!("load {size} bytes"),
        Op::Piece { size_in_bits, .. } => format!("piece of {size_in_bits} bits"),
        Op::ImplicitValue { data } => format!("implicit {:02x?}", data.slice()),
        Op::EntryValue { .. } => "value at the function's entry".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
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
