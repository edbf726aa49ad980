//! Names of the host's and the kernel's code, by symbol tables. Reads each table once, when it is needed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use wasmdbg_symbols::demangle::demangle;

use crate::host::SymbolTable;
use crate::space::ObjectId;

/// See the module.
#[derive(Debug, Default)]
pub struct HostNames {
    tables: HashMap<ObjectId, SymbolTable>,
    kernel: Option<Vec<(u64, Box<str>)>>,
}

impl HostNames {
    /// The function at an address of a host object, demangled. `path` and `bytes`: where its symbols are.
    pub fn host(
        &mut self,
        id: ObjectId,
        path: Option<&Path>,
        bytes: Option<&[u8]>,
        address: u64,
    ) -> Option<String> {
        let table = self.tables.entry(id).or_insert_with(|| {
            let table = match (path, bytes) {
                (Some(path), _) => SymbolTable::read(path).ok(),
                (None, Some(bytes)) => SymbolTable::from_bytes(bytes).ok(),
                (None, None) => None,
            };
            table.unwrap_or_default()
        });
        table.find(address).map(demangle)
    }

    /// The kernel's function at an address; none when /proc/kallsyms hides its addresses.
    pub fn kernel(&mut self, address: u64) -> Option<String> {
        let symbols = self
            .kernel
            .get_or_insert_with(|| parse_kallsyms(&fs::read_to_string("/proc/kallsyms").unwrap_or_default()));
        let end = symbols.partition_point(|symbol| symbol.0 <= address);
        symbols[..end].last().map(|symbol| symbol.1.to_string())
    }
}

fn parse_kallsyms(text: &str) -> Vec<(u64, Box<str>)> {
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
        let kind = words.next()?;
        kind.eq_ignore_ascii_case("t").then(|| Some((address, words.next()?.into()))).flatten()
    };
    let mut symbols: Vec<_> = text.lines().filter_map(symbol).collect();
    symbols.sort_by_key(|symbol: &(u64, Box<str>)| symbol.0);
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_an_address_is_named() {
        let text = "ffffffff81000000 T _stext\n0000000000000000 T hidden\nffffffff81000040 d data\nffffffff81000080 t schedule\t[m]\n";
        let symbols = parse_kallsyms(text);
        let names: Vec<_> = symbols.iter().map(|symbol| &*symbol.1).collect();
        assert_eq!(names, ["_stext", "schedule"]);
    }
}
