//! Linear memory and code, and the references by which the client names places in them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmdbg_control::{ModuleHash, ModulePc, SlotId};
use wasmdbg_session::{CodeLine, Position, Session, Stop};

use crate::adapter::{Adapter, Answer, Phase};
use crate::protocol::{
    Body, DisassembleArguments, DisassembleBody, DisassembledInstruction, Event, MemoryEvent,
    ReadMemoryArguments, ReadMemoryBody, WriteMemoryArguments, WriteMemoryBody,
};
use crate::view::sources::module_id;

/// The most bytes of one request.
const MOST_BYTES: u64 = 16 << 20;

/// The most rows of one request.
const MOST_ROWS: i64 = 100_000;

/// An address in the memory of a slot: `slot1:0x1000`. Each slot has a memory of its own, which outlives
/// the stop.
pub(crate) fn memory_reference(slot: SlotId, address: u64) -> String {
    format!("slot{slot}:{address:#x}")
}

/// An opcode: clients compute with it, so it is a number. The module's number (from 1) stands above the pc.
pub(crate) fn code_reference(session: &Session, module: ModuleHash, pc: ModulePc) -> Option<String> {
    module_id(session, module).map(|id| format!("{:#x}", code_number(id, pc)))
}

fn code_number(module: i64, pc: ModulePc) -> i64 {
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

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Adapter {
    /// A place in memory: the stop whose memory it is, and the address.
    fn memory_place(&mut self, reference: &str, offset: i64) -> Result<(Arc<Stop>, u64), String> {
        let wrong = || format!("{reference:?} is no place in memory: give an address as in 0x1000");
        let (slot, address) = match reference.strip_prefix("slot").and_then(|rest| rest.split_once(':')) {
            Some((slot, address)) => (Some(slot.parse().map(SlotId).map_err(|_| wrong())?), address),
            None => (None, reference),
        };
        let address = number(address).ok_or_else(wrong)?;
        let address = address.checked_add_signed(offset).ok_or_else(wrong)?;
        let stop = match slot {
            Some(slot) => {
                let found = self.stops().into_iter().find(|stop| stop.info().slot == slot);
                found.ok_or("memory can be looked at while its request is stopped")?
            }
            None => self.frame_or_focus(None)?.0,
        };
        Ok((stop, address))
    }

    pub(crate) fn read_memory(&mut self, arguments: &ReadMemoryArguments) -> Answer {
        let (stop, address) = self.memory_place(&arguments.memory_reference, arguments.offset)?;
        let count = u64::try_from(arguments.count).map_err(|_| "`count` is negative".to_owned())?;
        let wanted = count.min(MOST_BYTES);
        let read = match wanted {
            0 => Vec::new(),
            // Outside the memory is no error here: these bytes are unreadable.
            wanted => stop.read_memory(address, wanted as u32).unwrap_or_default(),
        };
        let missing = count - read.len() as u64;
        Ok(Some(Body::from(ReadMemoryBody {
            address: format!("{address:#x}"),
            unreadable_bytes: (missing > 0).then(|| i64::try_from(missing).unwrap_or(i64::MAX)),
            data: (!read.is_empty() || count == 0).then(|| STANDARD.encode(&read)),
        })))
    }

    pub(crate) fn write_memory(&mut self, arguments: &WriteMemoryArguments) -> Answer {
        let (stop, address) = self.memory_place(&arguments.memory_reference, arguments.offset)?;
        let bytes = STANDARD
            .decode(arguments.data.trim())
            .map_err(|error| format!("`data` is no base64: {error}"))?;
        let count = bytes.len() as i64;
        if count > 0 {
            stop.write_memory(address, bytes).map_err(|error| error.to_string())?;
            self.changed(&stop);
            if self.peer.features.supports_memory_event {
                let memory_reference = arguments.memory_reference.clone();
                let event = MemoryEvent { memory_reference, offset: arguments.offset, count };
                self.peer.event(&Event::Memory(event));
            }
        }
        Ok(Some(Body::from(WriteMemoryBody { bytes_written: count })))
    }

    pub(crate) fn disassemble(&mut self, arguments: &DisassembleArguments) -> Answer {
        let count = arguments.instruction_count;
        if !(0..=MOST_ROWS).contains(&count) {
            return Err(format!("`instructionCount` is from 0 to {MOST_ROWS}"));
        }
        self.session()?;
        let Phase::Live(session) = &self.phase else { return Err("the session is over".into()) };
        let (module, pc) = code_address(session, &arguments.memory_reference, arguments.offset)?;
        let id = module_id(session, module).unwrap_or(1);
        let rows = session
            .disassemble(module, pc, arguments.instruction_offset, count as usize)
            .map_err(|error| error.to_string())?;
        // Rows without code still need addresses in order, each its own.
        let first = rows.iter().position(Option::is_some);
        let first_address = first.and_then(|at| rows[at].as_ref()).map(|line| code_number(id, line.pc));
        let mut next = first_address.unwrap_or_else(|| code_number(id, pc)) - first.unwrap_or(0) as i64;
        let mut shown: Option<Position> = None;
        let mut instructions = Vec::with_capacity(rows.len());
        for row in rows {
            instructions.push(match row {
                Some(line) => {
                    next = code_number(id, line.pc);
                    let mut one = instruction(next, &line);
                    next += line.bytes.len() as i64;
                    // The same place again is left out, as the protocol has it.
                    if let Some(position) =
                        line.position.as_ref().filter(|position| Some(*position) != shown.as_ref())
                    {
                        one.location = Some(self.sources.source(session, &self.peer, &position.file));
                        one.line = Some(self.peer.line_out(position.line));
                        one.column = (position.column > 0).then(|| self.peer.column_out(position.column));
                        shown = Some(position.clone());
                    }
                    one
                }
                None => {
                    let address = format!("{next:#x}");
                    next += 1;
                    DisassembledInstruction {
                        address,
                        instruction: "(no code)".into(),
                        presentation_hint: Some("invalid"),
                        ..DisassembledInstruction::default()
                    }
                }
            });
        }
        Ok(Some(Body::from(DisassembleBody { instructions })))
    }
}

fn instruction(address: i64, line: &CodeLine) -> DisassembledInstruction {
    let bytes: Vec<_> = line.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    DisassembledInstruction {
        address: format!("{address:#x}"),
        instruction_bytes: Some(bytes.join(" ")),
        instruction: line.text.clone(),
        symbol: line.function.clone(),
        ..DisassembledInstruction::default()
    }
}
