//! Values as a front end shows them. Nothing here evaluates DWARF locations or knows frames.
//!
//! A [`Value`] is a type and a place (`tree`). What it is (a scalar, a text, a sequence, a record) is read
//! once, in the way of its language (`languages`); `render` makes text of it, `children` what it opens to,
//! and `assign` the bytes of a new value.

mod assign;
mod children;
mod languages;
mod layout;
mod place;
mod render;
mod scalar;
mod state;
mod tree;

pub(crate) use assign::{encode, encode_global, is_enumerator};
pub(crate) use languages::value;
pub(crate) use place::Place;
pub use scalar::Format;
pub(crate) use scalar::Scalar;
pub use state::ValueState;
pub(crate) use tree::{PointerStyle, Shape};
pub use tree::{Value, Variable, VariableKind};
