//! Sessions on real modules with real DWARF: a test machine runs the fixtures, the session debugs them
//! over the control protocol.

mod containers;
mod machine;
mod proxy;
mod steps;
mod values;
