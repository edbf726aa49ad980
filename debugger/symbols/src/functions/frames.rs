//! Owns the instances of functions, inlined copies among them, and the frames at a pc.
//! Never looks at variables or types.

use super::name::FunctionName;
use super::tree::{NONE, Node};
use crate::debug_info::DebugInfo;
use crate::ids::InstanceId;
use crate::language::Language;
use crate::lines::position::Position;
use crate::lines::table::Row;
use crate::symbols::Symbols;
use wasmdbg_code_address::{ModulePc, PcRange};

/// What is known about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Name of the function.
    pub name: FunctionName,
    /// Index of the Wasm function that holds it.
    pub function: u32,
    /// Its code.
    pub ranges: Vec<PcRange>,
    /// Its first instruction: DW_AT_entry_pc or the start of the first range.
    pub entry: ModulePc,
    /// The instance it is inlined into; `None` for a function body.
    pub caller: Option<InstanceId>,
    /// Where the caller calls it; only for inlined copies.
    pub call: Option<Position>,
    /// Where the function is declared.
    pub declared: Option<Position>,
    /// Its language.
    pub language: Language,
}

/// One frame as the source sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// The instance, for variables and statements; `None` without DWARF.
    pub instance: Option<InstanceId>,
    /// Its function's name; `func[N]` when nothing names it.
    pub name: FunctionName,
    /// Where execution stands: for the innermost frame the pc's line, for those around it the call.
    pub position: Option<Position>,
    /// Whether `position` is only near: the debug info has no line of this very code.
    pub approximate: bool,
    /// Whether this frame is inlined into the next one.
    pub inlined: bool,
    /// Index of the Wasm function.
    pub function: u32,
    /// Its language.
    pub language: Language,
}

impl Symbols {
    /// The frames at a pc, innermost first: inlined ones, then the function itself. Empty only when
    /// the pc is in no function body.
    #[must_use]
    pub fn frames(&self, pc: ModulePc) -> Vec<SourceFrame> {
        let Some(function) = self.module.function_at(pc).map(|f| f.index) else { return Vec::new() };
        self.dwarf_frames(pc, function).unwrap_or_else(|| {
            vec![SourceFrame {
                instance: None,
                name: self.plain_name(function),
                position: self.position(pc),
                approximate: false,
                inlined: false,
                function,
                language: Language::Other,
            }]
        })
    }

    fn dwarf_frames(&self, pc: ModulePc, function: u32) -> Option<Vec<SourceFrame>> {
        let info = self.info.as_ref()?;
        let unit = info.unit_at(pc)?;
        let functions = info.functions(unit).ok()?;
        let chain = functions.chain(pc);
        if chain.is_empty() {
            return None;
        }
        let language = info.language(unit);
        let mut position = self.position(pc);
        let row = info.lines(unit).ok().and_then(|table| table.rows().get(table.row_at(pc)?));
        let approximate = row.is_some_and(Row::is_approximate);
        let mut frames = Vec::with_capacity(chain.len());
        for node in chain.iter().rev() {
            let found = &functions.nodes[*node as usize];
            let inlined = found.parent != NONE;
            let call = inlined.then(|| call_position(info, unit, found)).flatten();
            frames.push(SourceFrame {
                instance: Some(InstanceId { unit, node: *node }),
                name: self.name_of_entry(info, found.origin).unwrap_or_else(|| self.plain_name(function)),
                position: std::mem::replace(&mut position, call),
                approximate,
                inlined,
                function,
                language,
            });
        }
        Some(frames)
    }

    /// What is known about an instance; `None` for an id of another module.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<Instance> {
        let info = self.info.as_ref()?;
        let functions = info.functions(id.unit).ok()?;
        let node = functions.nodes.get(id.node as usize)?;
        let entry = functions.entry_pc(id.node)?;
        let function = self.module.function_at(entry)?.index;
        let inlined = node.parent != NONE;
        Some(Instance {
            id,
            name: self.name_of_entry(info, node.origin).unwrap_or_else(|| self.plain_name(function)),
            function,
            ranges: functions.ranges(id.node).to_vec(),
            entry,
            caller: inlined.then_some(InstanceId { unit: id.unit, node: node.parent }),
            call: inlined.then(|| call_position(info, id.unit, node)).flatten(),
            declared: info.declared(node.origin),
            language: info.language(id.unit),
        })
    }
}

fn call_position(info: &DebugInfo, unit: u32, node: &Node) -> Option<Position> {
    let (file, line, column) = node.call;
    (line != 0).then_some(Position { path: info.file(unit, file)?.clone(), line, column })
}
