//! Rust's containers that are not a row: `VecDeque`, hash and B-tree maps and sets. Their fields are
//! found by name, and a layout of another release than known is shown as the debug info has it.

use wasmdbg_symbols::{Type, TypeId};

use super::view::MOST_COLLECTED;
use crate::value::layout::argument;
use crate::value::place::Place;
use crate::value::state::ValueState;
use crate::value::tree::{Elements, Shape, Value};

/// Buckets of a hash table looked at.
const MOST_BUCKETS: u64 = 1 << 16;

/// Keys of a B-tree node, `CAPACITY` in `alloc::collections::btree::node`.
const NODE_KEYS: u64 = 11;

/// A ring: the first part begins at `head` and may go on at the start of the buffer.
pub(super) fn vec_deque(value: &Value, ty: &Type) -> Option<Shape> {
    let element = argument(ty, "T")?;
    let (address, _) = value.field("buf")?.first_pointer()?;
    let capacity = value.field("buf")?.unsigned_field("cap")?;
    let (head, length) = (value.field("head")?.unsigned(), value.field("len")?.unsigned());
    let stride = value.size_of(element)?;
    let collect = || {
        let (address, capacity, head, length) = (address?, capacity?.max(1), head?, length?);
        let slot = |index: u64| (head.wrapping_add(index)) % capacity;
        let one = |index| value.pointee(address.wrapping_add(slot(index).wrapping_mul(stride)), element);
        let values = (0..length.min(MOST_COLLECTED)).filter_map(one).collect();
        Ok(Shape::Sequence(Elements::Listed { values, length }))
    };
    Some(Shape::or_missing(collect()))
}

/// `HashMap`: the pairs of hashbrown's table.
pub(super) fn hash_map(value: &Value) -> Option<Shape> {
    Some(Shape::or_missing(hash_entries(value)?.map(|(entries, length)| Shape::Map {
        entries: entries.iter().filter_map(|pair| Some((pair.field("__0")?, pair.field("__1")?))).collect(),
        length,
    })))
}

/// `HashSet`: a map without values.
pub(super) fn hash_set(value: &Value) -> Option<Shape> {
    Some(Shape::or_missing(hash_entries(value)?.map(|(entries, length)| {
        let values = entries.iter().filter_map(|pair| pair.field("__0")).collect();
        Shape::Sequence(Elements::Listed { values, length })
    })))
}

/// The occupied buckets: a control byte with its top bit clear marks one; bucket `i` ends `i` elements
/// before the control bytes.
fn hash_entries(value: &Value) -> Option<Result<(Vec<Value>, u64), ValueState>> {
    let table = value.find("table")?;
    let pair = argument(&*table.resolved()?, "T")?;
    let size = value.size_of(pair)?;
    let mask = table.unsigned_field("bucket_mask")?;
    let items = table.unsigned_field("items")?;
    let (control, _) = table.find("ctrl")?.first_pointer()?;
    let collect = || {
        let (buckets, length, control) = (mask?.saturating_add(1), items?, control?);
        if length == 0 {
            return Ok((Vec::new(), 0));
        }
        let marks = Place::Memory(control)
            .read(value.target().map(std::sync::Arc::as_ref), buckets.min(MOST_BUCKETS))?;
        let occupied =
            marks.iter().enumerate().filter(|(_, mark)| **mark < 0x80).map(|(index, _)| index as u64);
        let at = |index: u64| control.wrapping_sub((index + 1).wrapping_mul(size));
        let entries: Vec<Value> = occupied
            .take(MOST_COLLECTED as usize)
            .filter_map(|index| value.pointee(at(index), pair))
            .collect();
        Ok((entries, length))
    };
    Some(collect())
}

/// `BTreeMap`, in the order of its keys.
pub(super) fn btree_map(value: &Value) -> Option<Shape> {
    Some(Shape::or_missing(tree_entries(value)?.map(|(entries, length)| Shape::Map { entries, length })))
}

/// `BTreeSet`: a map without values.
pub(super) fn btree_set(value: &Value) -> Option<Shape> {
    let entries = tree_entries(&value.field("map")?)?;
    Some(Shape::or_missing(entries.map(|(entries, length)| {
        let values = entries.into_iter().map(|(key, _)| key).collect();
        Shape::Sequence(Elements::Listed { values, length })
    })))
}

type Entries = Result<(Vec<(Value, Value)>, u64), ValueState>;

fn tree_entries(map: &Value) -> Option<Entries> {
    let length = match map.field("length")?.unsigned() {
        Ok(0) => return Some(Ok((Vec::new(), 0))),
        Ok(length) => length,
        Err(state) => return Some(Err(state)),
    };
    // `root` is an `Option<NodeRef>`; the pointer and the height are in its payload.
    let option = map.field("root")?;
    let Shape::Record { fields, .. } = option.shape() else { return None };
    let root = &fields.first()?.value;
    let height = root.unsigned_field("height")?;
    let (node, leaf) = root.find("node")?.first_pointer()?;
    let walk = || {
        let mut walk = Walk { map, leaf: leaf_of(leaf)?, entries: Vec::new() };
        walk.node(node?, height?)?;
        Ok((walk.entries, length))
    };
    Some(walk())
}

fn leaf_of(leaf: Option<TypeId>) -> Result<TypeId, ValueState> {
    leaf.ok_or_else(|| ValueState::unreadable("the debug info does not say what its nodes are"))
}

struct Walk<'a> {
    map: &'a Value,
    leaf: TypeId,
    entries: Vec<(Value, Value)>,
}

impl Walk<'_> {
    /// The entries of a node and of those below it. An inner node is a leaf with edges behind it.
    fn node(&mut self, address: u64, height: u64) -> Result<(), ValueState> {
        let broken = || ValueState::unreadable("a tree node is not as expected");
        if height > 32 {
            return Err(broken());
        }
        if self.entries.len() as u64 >= MOST_COLLECTED {
            return Ok(());
        }
        let node = self.map.pointee(address, self.leaf).ok_or_else(broken)?;
        let length = node.unsigned_field("len").ok_or_else(broken)??;
        if length > NODE_KEYS {
            return Err(broken());
        }
        let edges = address.wrapping_add(self.map.size_of(self.leaf).ok_or_else(broken)?);
        let keys = node.field("keys").ok_or_else(broken)?;
        let values = node.field("vals").ok_or_else(broken)?;
        for index in 0..=length {
            if height > 0 {
                let target = self.map.target().map(std::sync::Arc::as_ref);
                let edge = Place::Memory(edges.wrapping_add(index * 4)).read(target, 4)?;
                let edge = edge.iter().rev().fold(0, |address, byte| address << 8 | u64::from(*byte));
                self.node(edge, height - 1)?;
            }
            if index < length {
                let (key, value) = (element(&keys, index), element(&values, index));
                self.entries.push((key.ok_or_else(broken)?, value.ok_or_else(broken)?));
            }
        }
        Ok(())
    }
}

fn element(array: &Value, index: u64) -> Option<Value> {
    match array.shape() {
        Shape::Sequence(elements) => elements.get(index),
        _ => None,
    }
}
