//! Owns what is known of a unit's functions, and the one walk over its entries that tells it: function instances and inlined
//! copies as a tree, declarations, scopes for qualified names, statics and named types.
//! Copies no string and decodes no location.

use std::ops::Range;

use gimli::AttributeValue;

use crate::debug_info::{DebugInfo, OpenUnit, Slice, Text};
use crate::error::DebugInfoError;
use wasmdbg_code_address::{CodeOffset, CodeSection, ModulePc, PcRange};

/// No parent, no scope.
pub(crate) const NONE: u32 = u32::MAX;

/// How deep namespaces, types and inlined copies may nest. Broken info can claim any depth.
const MAX_DEPTH: usize = 512;

/// A function instance or an inlined copy that has code.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its entry.
    pub(crate) entry: u32,
    /// The entry that describes the function: the abstract origin, else its own.
    pub(crate) origin: u32,
    /// The node it is inlined into.
    pub(crate) parent: u32,
    /// One past the last node of its subtree.
    pub(crate) end: u32,
    ranges: Range<u32>,
    /// DW_AT_entry_pc.
    pub(crate) entry_pc: Option<ModulePc>,
    /// DW_AT_call_file, line, column; zeros for instances.
    pub(crate) call: (u32, u32, u32),
}

/// A subprogram entry: what a function is called and where it is declared.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) entry: u32,
    pub(crate) name: Option<Text>,
    pub(crate) linkage: Option<Text>,
    /// DW_AT_specification or DW_AT_abstract_origin: the entry that completes this one.
    pub(crate) origin: Option<u32>,
    pub(crate) scope: u32,
    /// DW_AT_decl_file and line; zeros when unknown.
    pub(crate) declared: (u32, u32),
}

/// A namespace, type or function that qualifies the names in it.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) entry: u32,
    pub(crate) parent: u32,
    pub(crate) name: Option<Text>,
    pub(crate) kind: ScopeKind,
    /// First entry behind it.
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    Namespace,
    Type,
    Function,
}

/// An entry with a name of its own: a static or a type.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) entry: u32,
    pub(crate) scope: u32,
    pub(crate) name: Option<Text>,
    /// Types only: just a declaration.
    pub(crate) declaration: bool,
}

/// What the walk over one unit found.
#[derive(Debug, Default)]
pub(crate) struct UnitEntries {
    pub(crate) nodes: Vec<Node>,
    node_ranges: Vec<PcRange>,
    /// Code of instances (not inlined copies), by rising start.
    by_pc: Vec<(PcRange, u32)>,
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) statics: Vec<Named>,
    pub(crate) types: Vec<Named>,
}

impl UnitEntries {
    pub(crate) fn function_ranges(&self) -> impl Iterator<Item = PcRange> {
        self.by_pc.iter().map(|(range, _)| *range)
    }

    /// Adds a node without an entry: a function, or behind its caller a call inlined into it. `origin` is
    /// the number of its name ([`NONE`]: the name section has it). Functions come by rising pc.
    pub(crate) fn add(
        &mut self,
        origin: u32,
        parent: u32,
        ranges: Vec<PcRange>,
        call: (u32, u32, u32),
    ) -> u32 {
        let (node, first) = (self.nodes.len() as u32, self.node_ranges.len() as u32);
        if parent == NONE {
            self.by_pc.extend(ranges.iter().map(|range| (*range, node)));
        }
        self.node_ranges.extend(ranges);
        let ranges = first..self.node_ranges.len() as u32;
        self.nodes.push(Node { entry: NONE, origin, parent, end: node + 1, ranges, entry_pc: None, call });
        let mut around = parent;
        while let Some(caller) = self.nodes.get_mut(around as usize) {
            caller.end = node + 1;
            around = caller.parent;
        }
        node
    }

    pub(crate) fn ranges(&self, node: u32) -> &[PcRange] {
        let Some(node) = self.nodes.get(node as usize) else { return &[] };
        &self.node_ranges[node.ranges.start as usize..node.ranges.end as usize]
    }

    pub(crate) fn contains(&self, node: u32, pc: ModulePc) -> bool {
        self.ranges(node).iter().any(|r| r.contains(pc))
    }

    /// The nodes around a pc, outermost first.
    pub(crate) fn chain(&self, pc: ModulePc) -> Vec<u32> {
        let after = self.by_pc.partition_point(|(r, _)| r.start <= pc);
        let Some((range, root)) = after.checked_sub(1).map(|at| &self.by_pc[at]) else { return Vec::new() };
        if !range.contains(pc) {
            return Vec::new();
        }
        let mut chain = vec![*root];
        let mut end = self.nodes[*root as usize].end;
        let mut next = root + 1;
        while next < end {
            if self.contains(next, pc) {
                chain.push(next);
                end = self.nodes[next as usize].end;
                next += 1;
            } else {
                next = self.nodes[next as usize].end.max(next + 1);
            }
        }
        chain
    }

    /// The instance that a node belongs to: itself, or what it is inlined into in the end.
    pub(crate) fn root(&self, node: u32) -> u32 {
        let mut node = node;
        // A parent always comes before its children in the walk: this ends.
        while let Some(parent) = self.nodes.get(node as usize).map(|n| n.parent).filter(|p| *p != NONE) {
            node = parent;
        }
        node
    }

    /// The first instruction of a node.
    pub(crate) fn entry_pc(&self, node: u32) -> Option<ModulePc> {
        let first = self.ranges(node).iter().map(|r| r.start).min();
        self.nodes.get(node as usize)?.entry_pc.filter(|pc| self.contains(node, *pc)).or(first)
    }

    pub(crate) fn declaration(&self, entry: u32) -> Option<&Declaration> {
        let at = self.declarations.binary_search_by_key(&entry, |d| d.entry).ok()?;
        Some(&self.declarations[at])
    }

    /// The innermost scope around an entry.
    pub(crate) fn scope_of(&self, entry: u32) -> u32 {
        let Some(mut at) = self.scopes.partition_point(|s| s.entry < entry).checked_sub(1) else {
            return NONE;
        };
        loop {
            let scope = &self.scopes[at];
            if entry < scope.end {
                return at as u32;
            }
            if scope.parent == NONE {
                return NONE;
            }
            at = scope.parent as usize;
        }
    }
}

impl DebugInfo {
    pub(crate) fn entries(&self, unit: u32) -> Result<&UnitEntries, DebugInfoError> {
        let slot = self.slot(unit)?;
        slot.entries.get_or_init(|| Walk::new(self, &self.open(unit)?).run()).as_ref().map_err(Clone::clone)
    }

    /// The names of the scopes around an entry of a unit, outermost first, and the entry's own last.
    pub(crate) fn qualified(&self, entries: &UnitEntries, scope: u32, name: &str) -> String {
        let mut parts = vec![name];
        let mut at = scope;
        while let Some(scope) = entries.scopes.get(at as usize) {
            match (scope.name, scope.kind) {
                (Some(text), _) => parts.push(self.str(text)),
                (None, ScopeKind::Namespace) => parts.push("(anonymous namespace)"),
                (None, _) => {}
            }
            at = scope.parent;
        }
        parts.reverse();
        parts.join("::")
    }
}

/// The attributes that any of the walked tags needs, read in one pass.
#[derive(Default)]
struct Attributes {
    name: Option<Text>,
    linkage: Option<Text>,
    origin: Option<u32>,
    low: Option<u64>,
    high: Option<u64>,
    size: Option<u64>,
    ranges: Option<gimli::RangeListsOffset>,
    entry_pc: Option<EntryPc>,
    call: (u32, u32, u32),
    declared: (u32, u32),
    declaration: bool,
}

enum EntryPc {
    Address(u64),
    /// Relative to the node's start (DWARF 5).
    Offset(u64),
}

/// An enclosing entry of the walk.
struct Level {
    depth: isize,
    scope: Option<u32>,
    /// The node that code found here belongs to.
    node: Option<u32>,
    /// Inside a subprogram: variables are no statics of the unit.
    in_function: bool,
}

struct Walk<'w, 'a> {
    info: &'w DebugInfo,
    open: &'w OpenUnit<'a>,
    code: CodeSection,
    out: UnitEntries,
    levels: Vec<Level>,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(info: &'w DebugInfo, open: &'w OpenUnit<'a>) -> Walk<'w, 'a> {
        Walk { info, open, code: info.code, out: UnitEntries::default(), levels: Vec::new() }
    }

    fn run(mut self) -> Result<UnitEntries, DebugInfoError> {
        let open = self.open;
        let mut entries = open.unit.entries_raw(None).map_err(open.fail(open.slot.offset))?;
        while !entries.is_empty() {
            let offset = open.global(entries.next_offset());
            let depth = entries.next_depth();
            let fail = open.fail(offset);
            self.close(depth, offset);
            let Some(abbreviation) = entries.read_abbreviation().map_err(&fail)? else { continue };
            let wanted = matches!(
                abbreviation.tag(),
                gimli::DW_TAG_subprogram
                    | gimli::DW_TAG_inlined_subroutine
                    | gimli::DW_TAG_namespace
                    | gimli::DW_TAG_module
                    | gimli::DW_TAG_structure_type
                    | gimli::DW_TAG_class_type
                    | gimli::DW_TAG_union_type
                    | gimli::DW_TAG_enumeration_type
                    | gimli::DW_TAG_base_type
                    | gimli::DW_TAG_typedef
                    | gimli::DW_TAG_variable
            );
            if !wanted {
                entries.skip_attributes(abbreviation.attributes()).map_err(&fail)?;
                continue;
            }
            let mut attributes = Attributes::default();
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec).map_err(&fail)?;
                self.attribute(&mut attributes, &attribute).map_err(&fail)?;
            }
            if self.levels.len() > MAX_DEPTH {
                return Err(DebugInfoError::dwarf(offset, format!("entries nest deeper than {MAX_DEPTH}")));
            }
            self.entry(abbreviation.tag(), offset, depth, &attributes, abbreviation.has_children())?;
        }
        self.close(isize::MIN, open.slot.end);
        self.out.by_pc.sort_by_key(|(range, _)| range.start);
        Ok(self.out)
    }

    /// Ends the levels that the entry at `depth` is no longer in.
    fn close(&mut self, depth: isize, offset: u32) {
        while self.levels.last().is_some_and(|level| level.depth >= depth) {
            let Some(level) = self.levels.pop() else { return };
            if let Some(scope) = level.scope {
                self.out.scopes[scope as usize].end = offset;
            }
            if let Some(node) = level.node {
                self.out.nodes[node as usize].end = self.out.nodes.len() as u32;
            }
        }
    }

    fn attribute(
        &self,
        out: &mut Attributes,
        attribute: &gimli::Attribute<Slice<'a>>,
    ) -> Result<(), gimli::Error> {
        let refs = self.open.refs();
        let small = || attribute.udata_value().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let text = || refs.attr_string(attribute.value()).ok().map(|s| self.info.text(s));
        match attribute.name() {
            gimli::DW_AT_name => out.name = text(),
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => out.linkage = text(),
            gimli::DW_AT_specification | gimli::DW_AT_abstract_origin => {
                out.origin = self.open.reference(attribute.value());
            }
            gimli::DW_AT_low_pc => out.low = refs.attr_address(attribute.value())?,
            gimli::DW_AT_high_pc => match attribute.value() {
                AttributeValue::Udata(size) => out.size = Some(size),
                value => out.high = refs.attr_address(value)?,
            },
            gimli::DW_AT_ranges => out.ranges = refs.attr_ranges_offset(attribute.value())?,
            gimli::DW_AT_entry_pc => {
                out.entry_pc = match attribute.value() {
                    AttributeValue::Udata(offset) => Some(EntryPc::Offset(offset)),
                    value => refs.attr_address(value)?.map(EntryPc::Address),
                };
            }
            gimli::DW_AT_call_file => out.call.0 = file_index(attribute),
            gimli::DW_AT_call_line => out.call.1 = small(),
            gimli::DW_AT_call_column => out.call.2 = small(),
            gimli::DW_AT_decl_file => out.declared.0 = file_index(attribute),
            gimli::DW_AT_decl_line => out.declared.1 = small(),
            gimli::DW_AT_declaration => out.declaration = true,
            _ => {}
        }
        Ok(())
    }

    fn entry(
        &mut self,
        tag: gimli::DwTag,
        offset: u32,
        depth: isize,
        attributes: &Attributes,
        has_children: bool,
    ) -> Result<(), DebugInfoError> {
        let (parent_scope, in_function) = self.surroundings();
        let named =
            |declaration| Named { entry: offset, scope: parent_scope, name: attributes.name, declaration };
        let mut level = Level { depth, scope: None, node: None, in_function };
        match tag {
            gimli::DW_TAG_subprogram => {
                self.out.declarations.push(Declaration {
                    entry: offset,
                    name: attributes.name,
                    linkage: attributes.linkage,
                    origin: attributes.origin,
                    scope: parent_scope,
                    declared: attributes.declared,
                });
                level.scope = self.scope(offset, attributes.name, ScopeKind::Function, parent_scope);
                level.node = self.node(offset, NONE, attributes)?;
                level.in_function = true;
            }
            gimli::DW_TAG_inlined_subroutine => {
                let parent = self.levels.iter().rev().find_map(|l| l.node);
                if let Some(parent) = parent {
                    level.node = self.node(offset, parent, attributes)?;
                }
            }
            gimli::DW_TAG_namespace | gimli::DW_TAG_module => {
                level.scope = self.scope(offset, attributes.name, ScopeKind::Namespace, parent_scope);
            }
            gimli::DW_TAG_variable => {
                if !in_function {
                    self.out.statics.push(named(attributes.declaration));
                }
            }
            _ => {
                if attributes.name.is_some() {
                    self.out.types.push(named(attributes.declaration));
                }
                level.scope = self.scope(offset, attributes.name, ScopeKind::Type, parent_scope);
            }
        }
        if has_children {
            self.levels.push(level);
        } else if let Some(scope) = level.scope {
            self.out.scopes[scope as usize].end = offset + 1;
        }
        Ok(())
    }

    fn surroundings(&self) -> (u32, bool) {
        let scope = self.levels.iter().rev().find_map(|l| l.scope).unwrap_or(NONE);
        (scope, self.levels.last().is_some_and(|l| l.in_function))
    }

    fn scope(&mut self, entry: u32, name: Option<Text>, kind: ScopeKind, parent: u32) -> Option<u32> {
        self.out.scopes.push(Scope { entry, parent, name, kind, end: entry });
        Some(self.out.scopes.len() as u32 - 1)
    }

    /// Adds a node if the entry has live code.
    fn node(
        &mut self,
        entry: u32,
        parent: u32,
        attributes: &Attributes,
    ) -> Result<Option<u32>, DebugInfoError> {
        let first = self.out.node_ranges.len() as u32;
        if let Some(offset) = attributes.ranges {
            let fail = self.open.fail(entry);
            let mut ranges = self.open.refs().ranges(offset).map_err(&fail)?;
            while let Some(range) = ranges.next().map_err(&fail)? {
                self.out.node_ranges.extend(self.code.module_range(range.begin..range.end));
            }
        } else if let Some(low) = attributes.low {
            let high = attributes.high.or_else(|| low.checked_add(attributes.size?));
            self.out.node_ranges.extend(high.and_then(|high| self.code.module_range(low..high)));
        }
        let last = self.out.node_ranges.len() as u32;
        if first == last {
            return Ok(None);
        }
        let index = self.out.nodes.len() as u32;
        let start = self.out.node_ranges[first as usize].start;
        if parent == NONE {
            let ranges = &self.out.node_ranges[first as usize..];
            self.out.by_pc.extend(ranges.iter().map(|r| (*r, index)));
        }
        self.out.nodes.push(Node {
            entry,
            origin: attributes.origin.unwrap_or(entry),
            parent,
            end: index + 1,
            ranges: first..last,
            entry_pc: match attributes.entry_pc {
                Some(EntryPc::Address(address)) => {
                    u32::try_from(address).ok().and_then(|a| self.code.module_pc(CodeOffset(a)))
                }
                Some(EntryPc::Offset(offset)) => {
                    u32::try_from(offset).ok().and_then(|o| start.0.checked_add(o)).map(ModulePc)
                }
                None => None,
            },
            call: attributes.call,
        });
        Ok(Some(index))
    }
}

/// A file number; DWARF 5 producers give it in several forms.
pub(crate) fn file_index(attribute: &gimli::Attribute<Slice<'_>>) -> u32 {
    match attribute.value() {
        AttributeValue::FileIndex(index) => u32::try_from(index).unwrap_or(0),
        _ => attribute.udata_value().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
    }
}
