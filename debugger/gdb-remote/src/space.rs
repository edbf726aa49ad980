//! LLDB's addresses of Wasm: 2 bits of type, 30 bits of module or memory, 32 bits of offset. Owns what
//! lies where and the documents that tell LLDB so.

use std::fmt::Write as _;

use gdbstub_arch::wasm::addr::{WasmAddr, WasmAddrType};
use wasmdbg_control::ModulePc;

use crate::attach::Module;

/// What lies at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A byte of the file of a module.
    Code {
        /// Index among the session's modules.
        module: usize,
        /// Which byte.
        pc: ModulePc,
    },
    /// Linear memory of what stands.
    Memory {
        /// Which memory of the module.
        memory: u32,
        /// Address in it.
        address: u32,
    },
}

/// Takes an address apart; none for a type that does not exist.
pub(crate) fn place(address: u64) -> Option<Place> {
    let address = WasmAddr::from_raw(address)?;
    Some(match address.addr_type() {
        WasmAddrType::Object => {
            Place::Code { module: address.module_index() as usize, pc: ModulePc(address.offset()) }
        }
        WasmAddrType::Memory => Place::Memory { memory: address.module_index(), address: address.offset() },
    })
}

/// The address of a byte of a module's file.
pub(crate) fn code(module: usize, pc: ModulePc) -> u64 {
    let module = u32::try_from(module).ok();
    let address = module.and_then(|module| WasmAddr::new(WasmAddrType::Object, module, pc.0));
    address.map_or(0, WasmAddr::as_raw)
}

/// The modules, for `qXfer:libraries:read`: LLDB reads each from its address.
pub(crate) fn libraries(modules: &[Module]) -> String {
    let mut text = String::from("<library-list>");
    for (index, module) in modules.iter().enumerate() {
        // LLDB takes libraries of one name for one library.
        let name = escaped(&module.name);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "<library name=\"{name}\"><section address=\"{}\"/></library>",
            code(index, ModulePc(0))
        );
    }
    text.push_str("</library-list>");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_both_ways() {
        let address = code(1, ModulePc(0x4ba));
        assert_eq!(address, (1 << 62) | (1 << 32) | 0x4ba);
        assert_eq!(place(address), Some(Place::Code { module: 1, pc: ModulePc(0x4ba) }));
        assert_eq!(place(0x10_fff0), Some(Place::Memory { memory: 0, address: 0x10_fff0 }));
        assert_eq!(place(3 << 62), None);
    }

    #[test]
    fn a_name_cannot_break_the_list() {
        let module = Module {
            hash: wasmdbg_control::ModuleHash([0; 32]),
            name: "a\"<b>".into(),
            bytes: Vec::new().into(),
        };
        assert!(libraries(&[module]).contains("name=\"a&quot;&lt;b>\""));
    }
}
