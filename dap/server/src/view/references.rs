//! The texts and numbers by which the client names places in code and memory, and modules.

use wasmdbg_control::{ModuleHash, ModulePc, SlotId};
use wasmdbg_session::Session;

/// An address in the memory of a slot: `slot1:0x1000`. Each slot has a memory of its own, which outlives
/// the stop.
pub(crate) fn memory_reference(slot: SlotId, address: u64) -> String {
    format!("slot{slot}:{address:#x}")
}

/// What [`memory_reference`] made, or an address alone, and `offset` bytes behind it.
pub(crate) fn memory_address(reference: &str, offset: i64) -> Result<(Option<SlotId>, u64), String> {
    let wrong = || format!("{reference:?} is no place in memory: give an address as in 0x1000");
    let (slot, address) = match reference.strip_prefix("slot").and_then(|rest| rest.split_once(':')) {
        Some((slot, address)) => (Some(slot.parse().map(SlotId).map_err(|_| wrong())?), address),
        None => (None, reference),
    };
    let address = number(address).ok_or_else(wrong)?;
    Ok((slot, address.checked_add_signed(offset).ok_or_else(wrong)?))
}

/// An opcode: clients compute with it, so it is a number. The module's number (from 1) stands above the pc.
pub(crate) fn code_reference(session: &Session, module: ModuleHash, pc: ModulePc) -> Option<String> {
    module_id(session, module).map(|id| format!("{:#x}", code_number(id, pc)))
}

/// The number that [`code_reference`] writes.
pub(crate) fn code_number(module: i64, pc: ModulePc) -> i64 {
    module << 32 | i64::from(pc.0)
}

/// What [`code_reference`] made, and `offset` bytes behind it.
pub(crate) fn code_address(
    session: &Session,
    reference: &str,
    offset: i64,
) -> Result<(ModuleHash, ModulePc), String> {
    let wrong = || format!("{reference:?} is no place in the code");
    let number = number(reference).and_then(|number| i64::try_from(number).ok()).ok_or_else(wrong)?;
    let number = number.checked_add(offset).filter(|number| *number >= 0).ok_or_else(wrong)?;
    let at = usize::try_from((number >> 32) - 1).map_err(|_| wrong())?;
    let module = session.modules().get(at).map(|module| module.hash).ok_or_else(wrong)?;
    Ok((module, ModulePc((number & 0xffff_ffff) as u32)))
}

/// The number of a module, from 1.
pub(crate) fn module_id(session: &Session, hash: ModuleHash) -> Option<i64> {
    session.modules().iter().position(|module| module.hash == hash).map(|index| index as i64 + 1)
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
