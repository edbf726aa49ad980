//! The host functions that the fixtures need: the request's headers and the log.

use super::{Machine, Val};

/// What a filter sees of its transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Request headers in order.
    pub(crate) headers: Vec<(String, String)>,
    /// What the filter logged.
    pub(crate) logs: Vec<String>,
    /// Status of a local response.
    pub(crate) local_response: Option<u32>,
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;

/// Calls a host function; its Wasm result.
pub(super) fn call(machine: &mut Machine, name: &str, arguments: &[Val]) -> Result<u32, String> {
    let argument = |index: usize| arguments[index].u32();
    match name {
        "proxy_log" => {
            let text = text(machine, argument(1), argument(2));
            machine.host.logs.push(text);
        }
        "proxy_get_header_map_value" => {
            let name = text(machine, argument(1), argument(2));
            let found =
                machine.host.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            let Some(value) = found else { return Ok(NOT_FOUND) };
            give(machine, value.as_bytes(), argument(3), argument(4))?;
        }
        "proxy_get_header_map_pairs" => {
            let pairs = serialized(&machine.host.headers);
            give(machine, &pairs, argument(1), argument(2))?;
        }
        "proxy_send_local_response" => machine.host.local_response = Some(argument(0)),
        "proxy_get_property" | "proxy_get_buffer_bytes" => return Ok(NOT_FOUND),
        "proc_exit" => return Err(format!("exit {}", argument(0))),
        "environ_sizes_get" | "args_sizes_get" => {
            put(machine, argument(0), 0);
            put(machine, argument(1), 0);
        }
        "clock_time_get" => {
            put(machine, argument(2), 1_700_000_000);
            put(machine, argument(2) + 4, 0);
        }
        _ => {}
    }
    Ok(OK)
}

fn text(machine: &Machine, address: u32, size: u32) -> String {
    String::from_utf8_lossy(&machine.memory[address as usize..(address + size) as usize]).into_owned()
}

fn put(machine: &mut Machine, address: u32, value: u32) {
    machine.memory[address as usize..address as usize + 4].copy_from_slice(&value.to_le_bytes());
}

/// Hands bytes to the guest in memory that it allocates.
fn give(machine: &mut Machine, bytes: &[u8], pointer_at: u32, size_at: u32) -> Result<(), String> {
    let allocate =
        if machine.has_export("proxy_on_memory_allocate") { "proxy_on_memory_allocate" } else { "malloc" };
    let address = machine.call(allocate, &[Val::I32(bytes.len() as u32)])?.map_or(0, Val::u32);
    machine.memory[address as usize..address as usize + bytes.len()].copy_from_slice(bytes);
    put(machine, pointer_at, address);
    put(machine, size_at, bytes.len() as u32);
    Ok(())
}

/// A header map as the ABI has it: count, sizes, texts with a zero byte behind each.
fn serialized(headers: &[(String, String)]) -> Vec<u8> {
    let mut bytes = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}
