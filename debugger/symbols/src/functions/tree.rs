//! Owns the functions of a unit and the calls inlined into them, as a tree by pc. Knows no names and no DWARF.

use std::ops::Range;

use wasmdbg_code_address::{ModulePc, PcRange};

/// No parent, no scope.
pub(crate) const NONE: u32 = u32::MAX;

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

/// The entry that a node was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    /// [`NONE`] without DWARF.
    pub(crate) entry: u32,
    /// See [`Node::origin`].
    pub(crate) origin: u32,
    pub(crate) entry_pc: Option<ModulePc>,
}

/// All functions of a unit.
#[derive(Debug, Default)]
pub(crate) struct FunctionTree {
    pub(crate) nodes: Vec<Node>,
    node_ranges: Vec<PcRange>,
    /// Code of instances (not inlined copies), by rising start.
    by_pc: Vec<(PcRange, u32)>,
}

impl FunctionTree {
    pub(crate) fn function_ranges(&self) -> impl Iterator<Item = PcRange> {
        self.by_pc.iter().map(|(range, _)| *range)
    }

    /// Adds a node without an entry: a function, or behind its caller a call inlined into it. `origin` is
    /// the number of its name ([`NONE`]: the name section has it). Functions come by rising pc.
    pub(crate) fn add(&mut self, origin: u32, parent: u32, ranges: &[PcRange], call: (u32, u32, u32)) -> u32 {
        let node = self.open(Described { entry: NONE, origin, entry_pc: None }, parent, ranges, call);
        let mut around = parent;
        while let Some(caller) = self.nodes.get_mut(around as usize) {
            caller.end = node + 1;
            around = caller.parent;
        }
        node
    }

    /// Adds a node; those that follow are inlined into it until [`FunctionTree::close`].
    pub(crate) fn open(
        &mut self,
        described: Described,
        parent: u32,
        ranges: &[PcRange],
        call: (u32, u32, u32),
    ) -> u32 {
        let Described { entry, origin, entry_pc } = described;
        let (node, first) = (self.nodes.len() as u32, self.node_ranges.len() as u32);
        if parent == NONE {
            self.by_pc.extend(ranges.iter().map(|range| (*range, node)));
        }
        self.node_ranges.extend(ranges);
        let ranges = first..self.node_ranges.len() as u32;
        self.nodes.push(Node { entry, origin, parent, end: node + 1, ranges, entry_pc, call });
        node
    }

    /// Ends what is inlined into a node.
    pub(crate) fn close(&mut self, node: u32) {
        let end = self.nodes.len() as u32;
        self.nodes[node as usize].end = end;
    }

    /// Puts functions that came in any order by their pcs.
    pub(crate) fn sort(&mut self) {
        self.by_pc.sort_by_key(|(range, _)| range.start);
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
}
