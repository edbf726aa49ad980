//! Expressions of a user over the variables of a frame: text, tokens, tree, value. Calls nothing in the
//! guest and changes nothing.

mod evaluator;
mod lexer;
mod operators;
mod parser;

pub(crate) use evaluator::evaluate;
pub(crate) use operators::truth;
pub(crate) use parser::{Expression, MAX_NODES, check_length, parse, parse_within};
