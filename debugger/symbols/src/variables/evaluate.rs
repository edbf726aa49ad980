//! Owns the run of one location expression, with what it asks of the machine. Never picks the
//! expression: that is `described`.

use gimli::{AttributeValue, EvaluationResult, Value, ValueType};

use super::frame_setup::StackUse;
use super::location::{Location, Piece};
use super::machine::{Machine, Unreadable, WasmValue};
use crate::dwarf::sections::Slice;
use crate::dwarf::unit::OpenUnit;
use crate::symbols::Symbols;
use wasmdbg_code_address::ModulePc;

type Expression<'a> = gimli::Expression<Slice<'a>>;
type RawPiece<'a> = gimli::Piece<Slice<'a>>;
type Evaluation<'a> = gimli::Evaluation<Slice<'a>>;

/// An expression may loop (DW_OP_skip); none of a compiler's comes near this.
const MAX_STEPS: u32 = 10_000;
/// More parts than any value has; each can run so many steps.
const MAX_PARTS: usize = 256;
/// Expressions may call others (DW_OP_call4).
const MAX_QUESTIONS: usize = 1_000;

pub(crate) struct Evaluator<'e, 'a> {
    pub(crate) symbols: &'e Symbols,
    pub(crate) open: &'e OpenUnit<'a>,
    pub(crate) pc: ModulePc,
    pub(crate) machine: &'e dyn Machine,
    /// The entry of the function body that the frame runs; it has the frame base.
    pub(crate) frame: Option<u32>,
}

/// Why an evaluation ended without a location.
enum Failure {
    Unreadable(Unreadable),
    /// The value at the function's entry, or in a register of another machine: gone.
    OptimizedOut,
    Dwarf(gimli::Error),
}

impl From<Unreadable> for Failure {
    fn from(reason: Unreadable) -> Failure {
        Failure::Unreadable(reason)
    }
}

impl From<gimli::Error> for Failure {
    fn from(error: gimli::Error) -> Failure {
        Failure::Dwarf(error)
    }
}

fn failure(reason: impl Into<String>) -> Failure {
    Failure::Unreadable(Unreadable(reason.into()))
}

/// How wide DWARF's untyped values are. They are address-sized, but LLVM mixes them with 64-bit locals.
#[derive(Clone, Copy, PartialEq)]
enum Width {
    Address,
    Wide,
}

impl<'a> Evaluator<'_, 'a> {
    pub(crate) fn evaluate(&self, expression: Expression<'a>) -> Location {
        match self.pieces(expression) {
            Ok(location) => location,
            Err(Failure::OptimizedOut) => Location::OptimizedOut,
            Err(Failure::Unreadable(reason)) => Location::Unreadable(reason),
            Err(Failure::Dwarf(error)) => Location::unreadable(format!("bad location: {error}")),
        }
    }

    /// Evaluates each piece by itself: the stack is empty behind a piece, and the width of untyped
    /// values is a matter of the piece.
    fn pieces(&self, expression: Expression<'a>) -> Result<Location, Failure> {
        let parts = self.split(expression)?;
        if let [only] = parts[..] {
            let (pieces, constant) = self.part(only)?;
            match pieces.as_slice() {
                [] => return Ok(Location::OptimizedOut),
                [piece] if piece.size_in_bits.is_none() => return place(piece, constant),
                _ => {}
            }
        }
        let mut out = Vec::new();
        for part in parts {
            let (pieces, constant) = match self.part(part) {
                Err(Failure::OptimizedOut) => (Vec::new(), None),
                other => other?,
            };
            for piece in pieces {
                out.push(Piece {
                    bits: piece.size_in_bits,
                    bit_offset: piece.bit_offset.unwrap_or(0),
                    place: place(&piece, constant)?,
                });
            }
        }
        let gone = |piece: &Piece| piece.place == Location::OptimizedOut;
        Ok(if out.iter().all(gone) { Location::OptimizedOut } else { Location::Pieces(out) })
    }

    /// Cuts an expression behind each DW_OP_piece.
    fn split(&self, expression: Expression<'a>) -> Result<Vec<Expression<'a>>, Failure> {
        let whole = expression.0;
        let mut operations = expression.operations(self.open.unit.encoding());
        let (mut parts, mut start) = (Vec::new(), 0);
        while let Some(operation) = operations.next()? {
            if matches!(operation, gimli::Operation::Piece { .. }) {
                let end = operations.offset_from(&expression);
                parts.push(gimli::Expression(whole.range(start..end)));
                start = end;
                if parts.len() > MAX_PARTS {
                    return Err(failure(format!("the location has more than {MAX_PARTS} parts")));
                }
            }
        }
        if start < whole.len() {
            parts.push(gimli::Expression(whole.range(start..whole.len())));
        }
        Ok(parts)
    }

    /// Runs one part. A part that asks nothing is a constant, and says so with its bits.
    fn part(&self, part: Expression<'a>) -> Result<(Vec<RawPiece<'a>>, Option<u128>), Failure> {
        let narrow = self.run(part, Width::Address);
        let asked = matches!(narrow, Ok((_, true)) | Err(_));
        let mismatch = matches!(
            narrow,
            Err(Failure::Dwarf(gimli::Error::TypeMismatch | gimli::Error::IntegralTypeRequired))
        );
        if asked && !mismatch {
            return Ok((narrow?.0, None));
        }
        // An i64 local in arithmetic with untyped constants, or constants alone, which are as wide as
        // the type needs.
        let (pieces, asked) = self.run(part, Width::Wide)?;
        let constant = match pieces.first().map(|piece| &piece.location) {
            Some(gimli::Location::Value { value: Value::Generic(bits) }) if !asked => {
                let signed = part.operations(self.open.unit.encoding()).next();
                let signed = matches!(signed, Ok(Some(gimli::Operation::SignedConstant { .. })));
                Some(if signed { i128::from(*bits as i64) as u128 } else { u128::from(*bits) })
            }
            _ => None,
        };
        Ok((pieces, constant))
    }

    /// The pieces of an expression, and whether it asked the machine for anything.
    fn run(&self, expression: Expression<'a>, width: Width) -> Result<(Vec<RawPiece<'a>>, bool), Failure> {
        let mut encoding = self.open.unit.encoding();
        if width == Width::Wide {
            encoding.address_size = 8;
        }
        let mut evaluation = expression.evaluation(encoding);
        evaluation.set_max_iterations(MAX_STEPS);
        let bare = self.starts_bare(expression);
        if bare {
            // LLVM leaves the base out when it is the stack pointer: `DW_OP_plus_uconst N` alone.
            evaluation.set_initial_value(self.frame_base()?);
        }
        let mut state = evaluation.evaluate()?;
        for questions in 0..MAX_QUESTIONS {
            if state == EvaluationResult::Complete {
                return Ok((evaluation.result(), bare || questions > 0));
            }
            state = self.answer(&mut evaluation, state, width)?;
        }
        Err(failure("the location asks without end"))
    }

    /// Whether an expression begins with an offset to nothing.
    fn starts_bare(&self, expression: Expression<'a>) -> bool {
        let first = expression.operations(self.open.unit.encoding()).next();
        matches!(first, Ok(Some(gimli::Operation::PlusConstant { .. })))
    }

    fn answer(
        &self,
        evaluation: &mut Evaluation<'a>,
        question: EvaluationResult<Slice<'a>>,
        width: Width,
    ) -> Result<EvaluationResult<Slice<'a>>, Failure> {
        let refs = self.open.refs();
        Ok(match question {
            EvaluationResult::RequiresWasmLocal { index } => {
                evaluation.resume_with_wasm_value(stacked(self.machine.local(index)?, width)?)?
            }
            EvaluationResult::RequiresWasmStack { index } => {
                evaluation.resume_with_wasm_value(stacked(self.machine.operand(index)?, width)?)?
            }
            EvaluationResult::RequiresWasmGlobal { index } => {
                let value = self.global(index)?;
                evaluation.resume_with_wasm_value(stacked(value, width)?)?
            }
            EvaluationResult::RequiresFrameBase => evaluation.resume_with_frame_base(self.frame_base()?)?,
            EvaluationResult::RequiresMemory { address, size, space: None, base_type } => {
                let bytes = self.machine.memory(address, usize::from(size))?;
                evaluation.resume_with_memory(self.typed(&bytes, base_type, width)?)?
            }
            EvaluationResult::RequiresBaseType(offset) => {
                evaluation.resume_with_base_type(self.value_type(offset)?)?
            }
            // Linear memory is not relocated.
            EvaluationResult::RequiresRelocatedAddress(address) if is_removed(address) => {
                return Err(failure("the linker removed it"));
            }
            EvaluationResult::RequiresRelocatedAddress(address) => {
                evaluation.resume_with_relocated_address(address)?
            }
            EvaluationResult::RequiresIndexedAddress { index, .. } => {
                let address = refs.address(index)?;
                if is_removed(address) {
                    return Err(failure("the linker removed it"));
                }
                evaluation.resume_with_indexed_address(address)?
            }
            EvaluationResult::RequiresAtLocation(reference) => {
                evaluation.resume_with_at_location(self.called(reference)?)?
            }
            EvaluationResult::RequiresEntryValue(_) | EvaluationResult::RequiresParameterRef(_) => {
                return Err(Failure::OptimizedOut);
            }
            EvaluationResult::RequiresTls(_) => return Err(failure("thread-local storage is not supported")),
            EvaluationResult::RequiresCallFrameCfa | EvaluationResult::RequiresRegister { .. } => {
                return Err(failure("the location names a register, which Wasm does not have"));
            }
            EvaluationResult::RequiresMemory { .. } => {
                return Err(failure("the location is in another address space"));
            }
            EvaluationResult::Complete => EvaluationResult::Complete,
        })
    }

    fn global(&self, index: u32) -> Result<WasmValue, Failure> {
        if self.symbols.module.stack_pointer_global() == Some(index) {
            return Ok(WasmValue::I32(self.own_stack_pointer()?));
        }
        Ok(self.machine.global(index)?)
    }

    /// The stack pointer that this frame runs with: from the local that keeps it where there is one
    /// (exact in callers too), else what the machine says.
    fn own_stack_pointer(&self) -> Result<u32, Failure> {
        let function = self.symbols.module.function_at(self.pc).map(|f| f.index);
        match function.map(|index| self.symbols.stack_use(index)) {
            Some(StackUse::Frame(setup)) if self.pc < setup.ready => {
                Err(failure("the function has not set its frame up yet"))
            }
            Some(StackUse::Frame(setup)) if setup.holds_at(self.pc) => {
                number(stacked(self.machine.local(setup.local)?, Width::Address)?)
            }
            Some(StackUse::Frame(setup)) if !setup.writes_global => {
                Err(failure("the function no longer keeps its frame's address"))
            }
            // The frame of a leaf lies below the pointer, which it leaves alone.
            Some(StackUse::RedZone { size: Some(size) }) => {
                let pointer = self.machine.stack_pointer()?;
                pointer.checked_sub(size).ok_or_else(|| failure("the stack pointer is below its frame"))
            }
            Some(StackUse::RedZone { size: None }) => {
                Err(failure("the size of the function's frame is unknown"))
            }
            _ => Ok(self.machine.stack_pointer()?),
        }
    }

    /// DW_AT_frame_base of the function body.
    fn frame_base(&self) -> Result<u64, Failure> {
        let entry = self.frame.ok_or_else(|| failure("there is no frame"))?;
        let unknown = || failure("the function's debug info has no frame base");
        let offset = self.open.local(entry).map_err(|_| unknown())?;
        let attribute =
            self.open.unit.entry(offset)?.attr_value(gimli::DW_AT_frame_base).ok_or_else(unknown)?;
        let AttributeValue::Exprloc(expression) = attribute else { return Err(unknown()) };
        let encoding = self.open.unit.encoding();
        let mut evaluation = expression.evaluation(encoding);
        evaluation.set_max_iterations(MAX_STEPS);
        let value = match evaluation.evaluate()? {
            EvaluationResult::RequiresWasmLocal { index } => {
                self.check_ready(index)?;
                stacked(self.machine.local(index)?, Width::Address)?
            }
            EvaluationResult::RequiresWasmGlobal { index } => stacked(self.global(index)?, Width::Address)?,
            _ => return Err(failure("the frame base is neither a local nor a global")),
        };
        number(value).map(u64::from)
    }

    /// The local that keeps the frame holds nothing of use before the prologue has set it.
    fn check_ready(&self, local: u32) -> Result<(), Failure> {
        let function = self.symbols.module.function_at(self.pc).map(|f| f.index);
        match function.and_then(|index| self.symbols.frame_pointer_hint(index)) {
            Some(setup) if setup.local == local && self.pc < setup.ready => {
                Err(failure("the function has not set its frame up yet"))
            }
            _ => Ok(()),
        }
    }

    fn value_type(&self, offset: gimli::UnitOffset) -> Result<ValueType, Failure> {
        if offset.0 == 0 {
            return Ok(ValueType::Generic);
        }
        let entry = self.open.unit.entry(offset)?;
        ValueType::from_entry(&entry)?.ok_or_else(|| failure("the location converts to an unknown type"))
    }

    fn typed(&self, bytes: &[u8], base: gimli::UnitOffset, width: Width) -> Result<Value, Failure> {
        let ty = self.value_type(base)?;
        if ty != ValueType::Generic {
            return Ok(Value::parse(ty, Slice::new(bytes, gimli::LittleEndian))?);
        }
        let mut wide = [0; 8];
        let len = bytes.len().min(8);
        wide[..len].copy_from_slice(&bytes[..len]);
        let value = u64::from_le_bytes(wide);
        let fits = width == Width::Wide || u32::try_from(value).is_ok();
        Ok(if fits { Value::Generic(value) } else { Value::U64(value) })
    }

    /// The expression of another entry (DW_OP_call2, call4, call_ref).
    fn called(&self, reference: gimli::DieReference<usize>) -> Result<Slice<'a>, Failure> {
        let gimli::DieReference::UnitRef(offset) = reference else {
            return Err(failure("the location calls another unit's"));
        };
        let entry = self.open.unit.entry(offset)?;
        match entry.attr_value(gimli::DW_AT_location) {
            Some(AttributeValue::Exprloc(expression)) => Ok(expression.0),
            _ => Err(Failure::OptimizedOut),
        }
    }
}

fn place(piece: &RawPiece<'_>, constant: Option<u128>) -> Result<Location, Failure> {
    Ok(match &piece.location {
        gimli::Location::Empty | gimli::Location::ImplicitPointer { .. } => Location::OptimizedOut,
        gimli::Location::Register { .. } => {
            return Err(failure("the location names a register, which Wasm does not have"));
        }
        // Nothing of a program lies at address 0.
        gimli::Location::Address { address: 0 } => return Err(failure("its address is null here")),
        gimli::Location::Address { address } => Location::Memory(*address),
        gimli::Location::Bytes { value } => Location::Value(value.to_vec()),
        gimli::Location::Value { value } => match constant {
            Some(bits) => Location::Value(bits.to_le_bytes().to_vec()),
            None => Location::Value(value_bytes(*value)),
        },
    })
}

/// wasm-ld writes 0 or the highest addresses for data and functions it removed. Nothing of a program
/// lies at address 0, and a 32-bit memory never reaches its last bytes.
fn is_removed(address: u64) -> bool {
    address == 0 || (0xffff_fffe..=0xffff_ffff).contains(&address) || address >= u64::MAX - 1
}

/// The bytes of a value that came from the machine: never more than it had, so that half of a 64-bit
/// value does not pass for the whole.
fn value_bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Generic(v) => v.to_le_bytes()[..4].to_vec(),
        Value::I8(v) => v.to_le_bytes().to_vec(),
        Value::U8(v) => v.to_le_bytes().to_vec(),
        Value::I16(v) => v.to_le_bytes().to_vec(),
        Value::U16(v) => v.to_le_bytes().to_vec(),
        Value::I32(v) => v.to_le_bytes().to_vec(),
        Value::U32(v) => v.to_le_bytes().to_vec(),
        Value::I64(v) => v.to_le_bytes().to_vec(),
        Value::U64(v) => v.to_le_bytes().to_vec(),
        Value::F32(v) => v.to_le_bytes().to_vec(),
        Value::F64(v) => v.to_le_bytes().to_vec(),
    }
}

/// A machine value as DWARF's stack takes it.
fn stacked(value: WasmValue, width: Width) -> Result<Value, Failure> {
    Ok(match (value, width) {
        (WasmValue::I32(bits), _) => Value::Generic(u64::from(bits)),
        (WasmValue::I64(bits), Width::Address) => Value::U64(bits),
        (WasmValue::I64(bits), Width::Wide) => Value::Generic(bits),
        (WasmValue::F32(bits), _) => Value::F32(f32::from_bits(bits)),
        (WasmValue::F64(bits), _) => Value::F64(f64::from_bits(bits)),
        (WasmValue::V128(_), _) => return Err(failure("a vector cannot be part of a location")),
    })
}

/// An address that must fit 32 bits.
fn number(value: Value) -> Result<u32, Failure> {
    match value {
        Value::Generic(v) | Value::U64(v) => {
            u32::try_from(v).map_err(|_| failure("the frame base is not a 32-bit address"))
        }
        _ => Err(failure("the frame base is not an integer")),
    }
}
