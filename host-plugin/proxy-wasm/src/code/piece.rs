//! The text of a filter in pieces with names: one for each function, and what lies between them.

use wasmdbg_control::ModulePc;
use wasmtime::ModuleFunction;

use super::{SourceLine, SourceNames};
use crate::filter::Filter;

/// A piece of code.
pub(super) struct Piece<'a> {
    /// Of its first byte.
    pub(super) address: u64,
    pub(super) code: &'a [u8],
    /// `filter: function`
    pub(super) name: String,
    /// By offsets in the piece.
    pub(super) lines: Vec<SourceLine>,
}

/// All of a filter's code, by rising address; nothing for a filter that does not run.
pub(super) fn pieces<'a>(filter: &'a Filter, names: &mut SourceNames, lines: bool) -> Vec<Piece<'a>> {
    let Some(module) = filter.compiled() else { return Vec::new() };
    let (text, bytes) = (module.text(), filter.module_bytes());
    let base = text.as_ptr().addr() as u64;
    let own = &filter.config().name;
    let mut functions: Vec<ModuleFunction> = module.functions().collect();
    functions.sort_by_key(|function| function.offset);
    let places: Vec<(usize, ModulePc)> = if lines {
        let placed = module.address_map().into_iter().flatten();
        placed.filter_map(|(offset, place)| Some((offset, ModulePc(place?)))).collect()
    } else {
        Vec::new()
    };
    let mut pieces = Vec::with_capacity(functions.len() * 2);
    let mut add = |from: usize, to: usize, name: String, lines: Vec<SourceLine>| {
        if let Some(code) = text.get(from..to).filter(|code| !code.is_empty()) {
            pieces.push(Piece { address: base + from as u64, code, name, lines });
        }
    };
    let mut end = 0;
    for function in &functions {
        // The ways in and out are not listed as functions.
        add(end, function.offset, format!("{own}: [wasmtime]"), Vec::new());
        end = function.offset + function.len;
        let name = (names.function)(bytes, function.index.as_u32())
            .or_else(|| function.name.clone())
            .unwrap_or_else(|| format!("func[{}]", function.index.as_u32()));
        let inside = places.partition_point(|place| place.0 < function.offset)
            ..places.partition_point(|place| place.0 < end);
        let mut lines = if inside.is_empty() { Vec::new() } else { (names.lines)(bytes, &places[inside]) };
        lines.iter_mut().for_each(|line| line.offset -= function.offset);
        // The prologue has no place of its own.
        lines.first_mut().into_iter().for_each(|line| line.offset = 0);
        add(function.offset, end, format!("{own}: {name}"), lines);
    }
    add(end, text.len(), format!("{own}: [wasmtime]"), Vec::new());
    pieces
}
