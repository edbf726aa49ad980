//! libc++'s containers made of nodes: trees, hash tables, lists. Their fields are found by name in
//! both of libc++'s layouts (members in compressed pairs until LLVM 19, plain members since).

use wasmdbg_symbols::TypeId;

use super::view::MOST_COLLECTED;
use crate::value::layout::argument_at;
use crate::value::state::ValueState;
use crate::value::tree::{Elements, Shape, Value};

/// `map`, `set` and their multi forms: a red-black tree.
pub(super) fn tree(value: &Value, is_map: bool) -> Option<Shape> {
    let tree = value.field("__tree_")?;
    let length = size(&tree, "__pair3_")?;
    let node = node_type(&tree, "__pair1_")?;
    let root = match tree.field("__end_node_") {
        Some(end) => end.field("__left_")?,
        None => tree.field("__pair1_")?.find("__left_")?,
    };
    let root = root.unsigned();
    let collect = || {
        let mut nodes = Vec::new();
        walk(&tree, node, root?, 0, &mut nodes)?;
        Ok(of_nodes(&nodes, length?, is_map))
    };
    Some(Shape::or_missing(collect()))
}

/// The nodes below `address` in order. A red-black tree of all of a wasm32 memory is less than 60 deep.
fn walk(
    tree: &Value,
    ty: TypeId,
    address: u64,
    depth: u32,
    nodes: &mut Vec<Value>,
) -> Result<(), ValueState> {
    if address == 0 || nodes.len() as u64 >= MOST_COLLECTED {
        return Ok(());
    }
    if depth > 64 {
        return Err(broken());
    }
    let node = tree.pointee(address, ty).ok_or_else(broken)?;
    walk(tree, ty, link(&node, "__left_")?, depth + 1, nodes)?;
    nodes.push(node.clone());
    walk(tree, ty, link(&node, "__right_")?, depth + 1, nodes)
}

/// `unordered_map` and `unordered_set`: all nodes are one list.
pub(super) fn hash_table(value: &Value, is_map: bool) -> Option<Shape> {
    let table = value.field("__table_")?;
    let length = size(&table, "__p2_")?;
    let node = node_type(&table, "__p1_")?;
    let first = match table.field("__first_node_") {
        Some(first) => first.field("__next_")?,
        None => table.field("__p1_")?.find("__next_")?,
    };
    let collect = || {
        let length = length?;
        let nodes = follow(&table, node, first.unsigned()?, length)?;
        Ok(of_nodes(&nodes, length, is_map))
    };
    Some(Shape::or_missing(collect()))
}

/// `list`: a ring of nodes through the list itself.
pub(super) fn list(value: &Value) -> Option<Shape> {
    let length = size(value, "__size_alloc_")?;
    let node = node_type(value, "__size_alloc_")?;
    let first = value.field("__end_")?.field("__next_")?;
    let collect = || {
        let length = length?;
        let nodes = follow(value, node, first.unsigned()?, length)?;
        Ok(of_nodes(&nodes, length, false))
    };
    Some(Shape::or_missing(collect()))
}

/// At most `length` nodes from `address` on.
fn follow(container: &Value, ty: TypeId, mut address: u64, length: u64) -> Result<Vec<Value>, ValueState> {
    let mut nodes = Vec::new();
    while address != 0 && (nodes.len() as u64) < length.min(MOST_COLLECTED) {
        let node = container.pointee(address, ty).ok_or_else(broken)?;
        address = link(&node, "__next_")?;
        nodes.push(node);
    }
    Ok(nodes)
}

fn link(node: &Value, name: &str) -> Result<u64, ValueState> {
    node.field(name).ok_or_else(broken)?.unsigned()
}

fn broken() -> ValueState {
    ValueState::unreadable("a node of it is not as expected")
}

/// The number of elements: the first part of a compressed pair, or a member of its own.
fn size(container: &Value, pair: &str) -> Option<Result<u64, ValueState>> {
    let field = match container.field("__size_") {
        Some(size) => size,
        None => container.field(pair)?.find("__value_")?,
    };
    Some(field.unsigned())
}

/// What the container's allocator makes: its nodes.
fn node_type(container: &Value, pair: &str) -> Option<TypeId> {
    let allocator = match container.field("__node_alloc_") {
        Some(allocator) => allocator.resolved()?,
        None => {
            let pair = container.field(pair)?.resolved()?;
            container.type_of(argument_at(&pair, 1)?)?
        }
    };
    argument_at(&allocator, 0)
}

/// The values in nodes; a map's are pairs, until LLVM 19 in a `__value_type`.
fn of_nodes(nodes: &[Value], length: u64, is_map: bool) -> Shape {
    let values = nodes.iter().filter_map(|node| node.field("__value_"));
    if !is_map {
        return Shape::Sequence(Elements::Listed { values: values.collect(), length });
    }
    let entries = values.filter_map(|value| {
        let pair = value.field("__cc_").or_else(|| value.field("__cc")).unwrap_or(value);
        Some((pair.field("first")?, pair.field("second")?))
    });
    Shape::Map { entries: entries.collect(), length }
}
