//! Linear memory and code.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmdbg_session::{CodeLine, Position, Session, Stop};

use crate::protocol::{
    Answer, Body, DisassembleArguments, DisassembleBody, DisassembledInstruction, Event, MemoryEvent,
    ReadMemoryArguments, ReadMemoryBody, WriteMemoryArguments, WriteMemoryBody,
};
use crate::transport::client::Client;
use crate::view::changed;
use crate::view::handles::Handles;
use crate::view::references::{code_address, code_number, memory_address, module_id};
use crate::view::sources::Sources;
use crate::view::threads::{Threads, controlled};

/// The most bytes of one request.
const MOST_BYTES: u64 = 16 << 20;

/// The most rows of one request.
const MOST_ROWS: i64 = 100_000;

/// A place in memory: the stop whose memory it is, and the address.
fn place(
    session: &Session,
    threads: &Threads,
    reference: &str,
    offset: i64,
) -> Result<(Arc<Stop>, u64), String> {
    let (slot, address) = memory_address(reference, offset)?;
    let stop = match slot {
        Some(slot) => {
            let found = controlled(session).into_iter().find(|stop| stop.info().slot == slot);
            found.ok_or("memory can be looked at while its request is stopped")?
        }
        None => threads.focus_or_why_not(session)?,
    };
    Ok((stop, address))
}

pub(crate) fn read(session: &Session, threads: &Threads, arguments: &ReadMemoryArguments) -> Answer {
    let (stop, address) = place(session, threads, &arguments.memory_reference, arguments.offset)?;
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

pub(crate) fn write(
    session: &Session,
    threads: &Threads,
    handles: &mut Handles,
    client: &mut Client,
    arguments: &WriteMemoryArguments,
) -> Answer {
    let (stop, address) = place(session, threads, &arguments.memory_reference, arguments.offset)?;
    let bytes =
        STANDARD.decode(arguments.data.trim()).map_err(|error| format!("`data` is no base64: {error}"))?;
    let count = bytes.len() as i64;
    if count > 0 {
        stop.write_memory(address, bytes).map_err(|error| error.to_string())?;
        changed(handles, threads, client, &stop);
        if client.features.supports_memory_event {
            let memory_reference = arguments.memory_reference.clone();
            let event = MemoryEvent { memory_reference, offset: arguments.offset, count };
            client.event(&Event::Memory(event));
        }
    }
    Ok(Some(Body::from(WriteMemoryBody { bytes_written: count })))
}

pub(crate) fn disassemble(
    session: Result<&Session, String>,
    sources: &mut Sources,
    client: &Client,
    arguments: &DisassembleArguments,
) -> Answer {
    let count = arguments.instruction_count;
    if !(0..=MOST_ROWS).contains(&count) {
        return Err(format!("`instructionCount` is from 0 to {MOST_ROWS}"));
    }
    let session = session?;
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
                    one.location = Some(sources.source(session, client, &position.file));
                    one.line = Some(client.line_out(position.line));
                    one.column = (position.column > 0).then(|| client.column_out(position.column));
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
