//! One frame of a recording as names: the filter, the function with what was inlined into it, the line.
//! Wasm by the module's own debug info, the host by the names in the recording or its symbol tables.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use wasmdbg_control::ModuleHash;
use wasmdbg_symbols::demangle::demangle;
use wasmdbg_symbols::{ModulePc, SourceFrame, Symbols};

use super::label::{Label, LabelKind, Place};
use crate::code::image::{CodeKind, CompiledFunction, function_at};
use crate::code::name::{DescribedKind, DescribedName};
use crate::host_names::HostNames;
use crate::recording::{ObjectInfo, Recording, WasmInfo};
use crate::space::{KERNEL, ObjectId, UNKNOWN};

/// What a frame is in names.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// The filter, for frames of modules.
    pub filter: Option<Label>,
    /// Functions, outermost first: the function itself, then what is inlined, each with its line.
    pub functions: Vec<(Label, Option<Place>)>,
    /// Whether the function has a name.
    pub named: bool,
}

impl Resolved {
    fn one(kind: LabelKind, text: &str) -> Self {
        Self { functions: vec![(Label::new(kind, text), None)], filter: None, named: true }
    }

    /// Whether it is code of a module.
    #[must_use]
    pub fn is_wasm(&self) -> bool {
        self.functions.last().is_some_and(|(label, _)| label.is_wasm())
    }

    fn of(mut self, filter: Label) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// Resolves frames and remembers them.
#[derive(Debug)]
pub struct Resolver<'a> {
    recording: &'a Recording,
    symbols: HashMap<ModuleHash, Option<Symbols>>,
    done: Vec<Option<Arc<Resolved>>>,
    names: HostNames,
}

impl<'a> Resolver<'a> {
    /// Of the frames of `recording`.
    #[must_use]
    pub fn new(recording: &'a Recording) -> Self {
        let done = vec![None; recording.frames.len()];
        Self { recording, symbols: HashMap::new(), done, names: HostNames::default() }
    }

    /// A frame by its index.
    pub fn frame(&mut self, index: u32) -> Arc<Resolved> {
        if let Some(done) = &self.done[index as usize] {
            return Arc::clone(done);
        }
        let resolved = Arc::new(self.resolve(index));
        self.done[index as usize] = Some(Arc::clone(&resolved));
        resolved
    }

    fn resolve(&mut self, index: u32) -> Resolved {
        let recording = self.recording;
        let frame = recording.frames[index as usize];
        if frame.object == KERNEL {
            let found = recording.names.get(&index).cloned().or_else(|| self.names.kernel(frame.address));
            return Resolved::one(LabelKind::Kernel, found.as_deref().unwrap_or("[kernel]"));
        }
        if frame.object == UNKNOWN {
            return Resolved::one(LabelKind::Host, "[unknown code]");
        }
        match recording.object(frame.object) {
            Some(ObjectInfo::Wasm(info)) => self.wasm(frame.object, info, frame.address),
            Some(ObjectInfo::Host { path, reached, .. }) => {
                let found = recording.names.get(&index).cloned().or_else(|| {
                    let reached = Path::new(reached.as_deref().unwrap_or(path));
                    self.names.host(frame.object, Some(reached), None, frame.address)
                });
                let file = path.rsplit('/').next().unwrap_or(path);
                Resolved::one(LabelKind::Host, &found.unwrap_or_else(|| format!("[{file}]")))
            }
            Some(ObjectInfo::Jit { source }) => self.described(source, frame.address),
            None => Resolved::one(LabelKind::Host, "[unknown code]"),
        }
    }

    /// Code of a jitdump or a perf map. Our own have the filter's name before the function's.
    fn described(&self, source: &str, address: u64) -> Resolved {
        let Some(code) = self.recording.jit.get((address >> 32) as usize) else {
            return Resolved::one(LabelKind::Wasm, source);
        };
        let filter =
            code.name.split_once(": ").filter(|(name, _)| self.recording.jit_filters.contains(*name));
        let (filter, name) = match filter {
            Some((filter, name)) => (Some(Label::new(LabelKind::Filter, &format!("filter {filter}"))), name),
            None => (None, code.name.as_str()),
        };
        let name = DescribedName::parse(name);
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
        Resolved { filter, functions: vec![(Label::new(kind, &name.text), place)], named: true }
    }

    fn function(&self, id: ObjectId, address: u64) -> Option<&'a CompiledFunction> {
        function_at(self.recording.functions.get(&id.0)?, u32::try_from(address).ok()?)
    }

    fn wasm(&mut self, id: ObjectId, info: &WasmInfo, address: u64) -> Resolved {
        let filter = filter_label(info);
        let recording = self.recording;
        let Some(function) = self.function(id, address) else {
            return Resolved::one(LabelKind::Trampoline, "[wasmtime]").of(filter);
        };
        let CodeKind::Function(index) = function.kind else {
            return Resolved::one(LabelKind::Trampoline, &trampoline(function)).of(filter);
        };
        let map = recording.address_maps.get(&id.0);
        let place = map.and_then(|map| map.find(address as u32, function.range.start));
        let Some(symbols) = info.module.and_then(|hash| self.symbols(hash)) else {
            let name = function.name.as_deref().map(demangle);
            let text = name.clone().unwrap_or_else(|| format!("function[{index}]"));
            let resolved = Resolved::one(LabelKind::Wasm, &text).of(filter);
            return Resolved { named: name.is_some(), ..resolved };
        };
        let callback = callback(symbols, index);
        let frames = place.map(|place| symbols.frames(ModulePc(place.module_offset))).unwrap_or_default();
        if frames.is_empty() {
            let kind = if callback.is_some() { LabelKind::Callback } else { LabelKind::Wasm };
            let name = callback.unwrap_or_else(|| symbols.function_name(index).full);
            return Resolved::one(kind, &name).of(filter);
        }
        let approximate = place.is_some_and(|place| place.approximate);
        let label = |frame: &SourceFrame| {
            let (kind, text) = match (frame.inlined, &callback) {
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
            (Label::new(kind, text), place)
        };
        let functions = frames.iter().rev().map(label).collect();
        Resolved { filter: Some(filter), functions, named: true }
    }

    fn symbols(&mut self, hash: ModuleHash) -> Option<&Symbols> {
        let recording = self.recording;
        let open = || {
            let module = recording.modules.get(&hash)?;
            let copy = recording.debug_files.get(&hash);
            let with_copy =
                copy.and_then(|copy| Symbols::with_debug_file(Arc::clone(module), Arc::clone(copy)).ok());
            with_copy.or_else(|| Symbols::new(Arc::clone(module)).ok())
        };
        self.symbols.entry(hash).or_insert_with(open).as_ref()
    }
}

fn filter_label(info: &WasmInfo) -> Label {
    let mut name = if info.filters.is_empty() { String::from("module") } else { info.filters.join(" or ") };
    if info.lane == "debug" {
        name.push_str(", debug lane");
    }
    if info.generation > 0 {
        name.push_str(&format!(", generation {}", info.generation));
    }
    Label::new(LabelKind::Filter, &format!("filter {name}"))
}

/// The name under which the host calls a function: a callback of the ABI, or a start function.
fn callback(symbols: &Symbols, function: u32) -> Option<Arc<str>> {
    let module = symbols.module();
    let exports = module.exports().iter().map(|export| &export.name);
    let name = exports
        .filter(|name| name.starts_with("proxy_on_") || name.starts_with('_'))
        .find(|name| module.exported_function(name) == Some(function))?;
    Some(name.as_str().into())
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
