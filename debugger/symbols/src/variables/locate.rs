//! Owns the way from a variable to its location on a stopped machine. Never guesses: what cannot be
//! told is [`Location::OptimizedOut`] or [`Location::Unreadable`], with the reason.

use gimli::AttributeValue;

use super::described::pick;
use super::evaluate::Evaluator;
use super::location::Location;
use super::machine::Machine;
use super::variable::Variable;
use crate::dwarf::sections::Slice;
use crate::dwarf::unit::OpenUnit;
use crate::error::DebugInfoError;
use crate::symbols::Symbols;
use crate::without_dwarf::named_locals;
use wasmdbg_code_address::ModulePc;

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
        if let Some(reason) = self.stale_local(variable, pc, &described, open.unit.encoding()) {
            return Ok(Location::Unreadable(reason));
        }
        let frame = variable.instance.and_then(|instance| {
            let functions = info.functions(instance.unit).ok()?;
            Some(functions.nodes.get(functions.root(instance.node) as usize)?.entry)
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
                let reason = format!(
                    "a constant in form {} of DWARF {}",
                    attribute.form(),
                    open.unit.header.version()
                );
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
