//! Sessions on real modules with real DWARF: a test machine runs the fixtures, the session debugs them
//! over the control protocol.

mod bench;
mod breakpoints;
mod containers;
mod machine;
mod proxy;
mod sessions;
mod steps;
mod symbols;
mod values;
