//! One frame of a recording as names: the filter, the function with what was inlined into it, the line.
//! Wasm by the module's own debug info, the host by the names in the recording or its symbol tables.

use std::collections::HashMap;
use std::sync::Arc;

use wasmdbg_control::ModuleHash;
use wasmdbg_symbols::Symbols;
use wasmdbg_symbols::demangle::demangle;

use super::label::{LabelKind, Labels, Place};
use crate::code::address_map;
use crate::code::image::{CodeKind, CompiledFunction, function_at};
use crate::code::name::{DescribedKind, DescribedName};
use crate::host_names;
use crate::limits::Notes;
use crate::recording::{ObjectInfo, Recording, WasmInfo};
use crate::target::space::{KERNEL, ObjectId, UNKNOWN};

/// The name of what nobody knows, without its brackets.
pub(super) const UNKNOWN_CODE: &str = "unknown code";

/// What a frame is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The filter, for frames of modules.
    pub(super) filter: Option<u32>,
    /// Whether it is code of a module.
    pub(super) wasm: bool,
    /// Whether the function has a name.
    pub(super) named: bool,
}

/// A function in a frame: the number of its name, and where execution stands in it.
pub(super) type FunctionAt = (u32, Option<Place>);

/// Resolves frames.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    recording: &'a Recording,
    modules: HashMap<ModuleHash, Option<Module>>,
    /// Names of host frames by their index, when the recording has none.
    names: HashMap<u32, String>,
    filters: HashMap<ObjectId, u32>,
}

/// A module's debug info, and the functions that the host calls, with the names under which it does.
#[derive(Debug)]
struct Module {
    symbols: Symbols,
    callbacks: HashMap<u32, Arc<str>>,
}

/// Where names go.
struct Out<'a> {
    labels: &'a mut Labels,
    functions: &'a mut Vec<FunctionAt>,
}

impl Out<'_> {
    fn function(&mut self, kind: LabelKind, name: &str, place: Option<Place>) {
        self.functions.push((self.labels.number(kind, name), place));
    }
}

impl<'a> Resolver<'a> {
    /// Of the frames of `recording`.
    pub(super) fn new(recording: &'a Recording) -> Self {
        let (modules, filters) = (HashMap::new(), HashMap::new());
        let names = if recording.names.is_empty() {
            host_names::of_recording(recording, |_| None, &mut Notes::default()).into_iter().collect()
        } else {
            HashMap::new()
        };
        Self { recording, modules, names, filters }
    }

    /// A frame by its index. Adds its functions to `functions`, outermost first: the function itself, then
    /// what is inlined.
    pub(super) fn frame(
        &mut self,
        index: u32,
        labels: &mut Labels,
        functions: &mut Vec<FunctionAt>,
    ) -> Resolved {
        let mut out = Out { labels, functions };
        let recording = self.recording;
        let frame = recording.frames[index as usize];
        let (kind, file) = match recording.object(frame.object) {
            Some(ObjectInfo::Wasm(info)) => return self.wasm(frame.object, info, frame.address, &mut out),
            Some(ObjectInfo::Jit { source }) => return self.described(source, frame.address, &mut out),
            _ if frame.object == KERNEL => (LabelKind::Kernel, "kernel"),
            Some(ObjectInfo::Host { path, .. }) if frame.object != UNKNOWN => {
                (LabelKind::Host, path.rsplit('/').next().unwrap_or(path))
            }
            _ => (LabelKind::Host, UNKNOWN_CODE),
        };
        let own = recording.names.get(&index).map(|name| &**name);
        match own.or_else(|| self.names.get(&index).map(String::as_str)) {
            Some(name) => out.function(kind, name, None),
            None => out.function(kind, &format!("[{}]", file.trim_matches(['[', ']'])), None),
        }
        Resolved { named: true, ..Resolved::default() }
    }

    /// Code of a jitdump or a perf map. Our own have the filter's name before the function's.
    fn described(&self, source: &str, address: u64, out: &mut Out<'_>) -> Resolved {
        let Some(code) = self.recording.jit.get((address >> 32) as usize) else {
            out.function(LabelKind::Wasm, source, None);
            return Resolved { wasm: true, named: true, filter: None };
        };
        let filter =
            code.name.split_once(": ").filter(|(name, _)| self.recording.jit_filters.contains(*name));
        let name = DescribedName::parse(filter.map_or(&code.name, |(_, name)| name));
        let kind = match name.kind {
            DescribedKind::Trampoline => LabelKind::Trampoline,
            DescribedKind::Engine => LabelKind::Host,
            DescribedKind::Function if name.text.starts_with("proxy_on_") => LabelKind::Callback,
            DescribedKind::Function => LabelKind::Wasm,
        };
        let place = code.line_at(address & 0xffff_ffff).map(|line| Place {
            path: Arc::clone(&line.file),
            line: line.line,
            approximate: false,
        });
        out.function(kind, &name.text, place);
        Resolved {
            filter: filter.map(|(name, _)| out.labels.number(LabelKind::Filter, &format!("filter {name}"))),
            wasm: kind.is_wasm(),
            named: true,
        }
    }

    fn function(&self, id: ObjectId, address: u64) -> Option<&'a CompiledFunction> {
        function_at(self.recording.functions.get(&id.0)?, u32::try_from(address).ok()?)
    }

    fn wasm(&mut self, id: ObjectId, info: &WasmInfo, address: u64, out: &mut Out<'_>) -> Resolved {
        let new = || out.labels.number(LabelKind::Filter, &info.label());
        let filter = Some(*self.filters.entry(id).or_insert_with(new));
        let recording = self.recording;
        let Some(function) = self.function(id, address) else {
            out.function(LabelKind::Trampoline, "[wasmtime]", None);
            return Resolved { filter, wasm: false, named: true };
        };
        let CodeKind::Function(index) = function.kind else {
            out.function(LabelKind::Trampoline, &trampoline(function), None);
            return Resolved { filter, wasm: false, named: true };
        };
        let map = recording.address_maps.get(&id.0);
        let place = map.and_then(|map| map.find(address as u32, function.range.start));
        let Some(Module { symbols, callbacks }) = info.module.and_then(|hash| self.module(hash)) else {
            let name = function.name.as_deref().map(demangle);
            let named = name.is_some();
            out.function(LabelKind::Wasm, &name.unwrap_or_else(|| format!("function[{index}]")), None);
            return Resolved { filter, wasm: true, named };
        };
        let callback = callbacks.get(&index);
        let at = |place: address_map::Place| symbols.frames(place.pc);
        let first = || map.and_then(|map| map.first(&function.range));
        // The prologue is the function's own, whatever is inlined behind it.
        let prologue = || first().and_then(|place| at(place).pop()).into_iter().collect();
        let frames: Vec<_> = place.map_or_else(prologue, at);
        if frames.is_empty() {
            match callback {
                Some(name) => out.function(LabelKind::Callback, name, None),
                None => out.function(LabelKind::Wasm, &symbols.function_name(index).full, None),
            }
        }
        let approximate = place.is_none_or(|place| place.approximate);
        for frame in frames.iter().rev() {
            let (kind, name) = match (frame.inlined, callback) {
                (true, _) => (LabelKind::Inlined, &frame.name.full),
                // The host calls an export by its own name, whatever the source calls the function.
                (false, Some(export)) => (LabelKind::Callback, export),
                (false, None) => (LabelKind::Wasm, &frame.name.full),
            };
            let place = frame.position.as_ref().map(|position| Place {
                path: Arc::clone(&position.path),
                line: position.line,
                approximate: approximate || frame.approximate,
            });
            out.function(kind, name, place);
        }
        Resolved { filter, wasm: true, named: true }
    }

    fn module(&mut self, hash: ModuleHash) -> Option<&Module> {
        let recording = self.recording;
        let open = || {
            let module = recording.modules.get(&hash)?;
            let copy = recording.debug_files.get(&hash);
            let with_copy =
                copy.and_then(|copy| Symbols::with_debug_file(Arc::clone(module), Arc::clone(copy)).ok());
            let symbols = with_copy.or_else(|| Symbols::new(Arc::clone(module)).ok())?;
            let callbacks = callbacks(&symbols);
            Some(Module { symbols, callbacks })
        };
        self.modules.entry(hash).or_insert_with(open).as_ref()
    }
}

/// The functions that the host calls: callbacks of the ABI, and start functions.
fn callbacks(symbols: &Symbols) -> HashMap<u32, Arc<str>> {
    let module = symbols.module();
    let names = module.exports().iter().map(|export| &export.name);
    let called = names.rev().filter(|name| name.starts_with("proxy_on_") || name.starts_with('_'));
    called.filter_map(|name| Some((module.exported_function(name)?, name.as_str().into()))).collect()
}

/// `wasm[0]::array_to_wasm_trampoline[5]` without numbers: all of them are one thing.
fn trampoline(function: &CompiledFunction) -> String {
    let symbol = function.name.as_deref().unwrap_or("wasmtime");
    let name = symbol.rsplit("::").next().unwrap_or(symbol);
    format!("[{}]", name.split('[').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trampolines_are_named_without_numbers() {
        let name = Some("wasm[0]::array_to_wasm_trampoline[5]".to_owned());
        let function = CompiledFunction { range: 0..1, kind: CodeKind::Trampoline, name };
        assert_eq!(trampoline(&function), "[array_to_wasm_trampoline]");
    }
}
