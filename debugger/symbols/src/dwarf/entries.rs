//! Owns what is known of a unit's functions, and the one walk over its entries that tells it: function instances and inlined
//! copies as a tree, declarations, scopes for qualified names, statics and named types.
//! Copies no string and decodes no location.

use gimli::AttributeValue;

use super::sections::{Sections, Slice, Text};
use super::unit::OpenUnit;
use crate::error::DebugInfoError;
use crate::functions::tree::{Described, FunctionTree, NONE};
use wasmdbg_code_address::{CodeOffset, ModulePc, PcRange};

/// How deep namespaces, types and inlined copies may nest. Broken info can claim any depth.
const MAX_DEPTH: usize = 512;

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
    pub(crate) functions: FunctionTree,
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) statics: Vec<Named>,
    pub(crate) types: Vec<Named>,
}

impl UnitEntries {
    /// Walks over an opened unit.
    pub(crate) fn read(sections: &Sections, open: &OpenUnit<'_>) -> Result<UnitEntries, DebugInfoError> {
        Walk::new(sections, open).run()
    }

    pub(crate) fn declaration(&self, entry: u32) -> Option<&Declaration> {
        let at = self.declarations.binary_search_by_key(&entry, |d| d.entry).ok()?;
        Some(&self.declarations[at])
    }

    /// The names of the scopes around an entry, outermost first, and the entry's own last.
    pub(crate) fn qualified(&self, sections: &Sections, scope: u32, name: &str) -> String {
        let mut parts = vec![name];
        let mut at = scope;
        while let Some(scope) = self.scopes.get(at as usize) {
            match (scope.name, scope.kind) {
                (Some(text), _) => parts.push(sections.str(text)),
                (None, ScopeKind::Namespace) => parts.push("(anonymous namespace)"),
                (None, _) => {}
            }
            at = scope.parent;
        }
        parts.reverse();
        parts.join("::")
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
    sections: &'w Sections,
    open: &'w OpenUnit<'a>,
    out: UnitEntries,
    levels: Vec<Level>,
}

impl<'w, 'a> Walk<'w, 'a> {
    fn new(sections: &'w Sections, open: &'w OpenUnit<'a>) -> Walk<'w, 'a> {
        Walk { sections, open, out: UnitEntries::default(), levels: Vec::new() }
    }

    fn run(mut self) -> Result<UnitEntries, DebugInfoError> {
        let open = self.open;
        let mut entries = open.unit.entries_raw(None).map_err(open.fail(open.extent.start))?;
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
        self.close(isize::MIN, open.extent.end);
        self.out.functions.sort();
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
                self.out.functions.close(node);
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
        let text = || refs.attr_string(attribute.value()).ok().map(|s| self.sections.text(s));
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
        let code = self.sections.code;
        let mut live: Vec<PcRange> = Vec::new();
        if let Some(offset) = attributes.ranges {
            let fail = self.open.fail(entry);
            let mut ranges = self.open.refs().ranges(offset).map_err(&fail)?;
            while let Some(range) = ranges.next().map_err(&fail)? {
                live.extend(code.module_range(range.begin..range.end));
            }
        } else if let Some(low) = attributes.low {
            let high = attributes.high.or_else(|| low.checked_add(attributes.size?));
            live.extend(high.and_then(|high| code.module_range(low..high)));
        }
        let Some(first) = live.first() else { return Ok(None) };
        let entry_pc = match attributes.entry_pc {
            Some(EntryPc::Address(address)) => {
                u32::try_from(address).ok().and_then(|address| code.module_pc(CodeOffset(address)))
            }
            Some(EntryPc::Offset(offset)) => {
                u32::try_from(offset).ok().and_then(|offset| first.start.0.checked_add(offset)).map(ModulePc)
            }
            None => None,
        };
        let described = Described { entry, origin: attributes.origin.unwrap_or(entry), entry_pc };
        Ok(Some(self.out.functions.open(described, parent, &live, attributes.call)))
    }
}

/// A file number; DWARF 5 producers give it in several forms.
pub(crate) fn file_index(attribute: &gimli::Attribute<Slice<'_>>) -> u32 {
    match attribute.value() {
        AttributeValue::FileIndex(index) => u32::try_from(index).unwrap_or(0),
        _ => attribute.udata_value().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
    }
}
