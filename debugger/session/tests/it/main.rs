//! Sessions on real modules with real DWARF: a test machine runs the fixtures, the session debugs them
//! over the control protocol.

mod assign;
mod bench;
mod breakpoints;
mod conditions;
mod containers;
mod disassembly;
mod go;
mod hostile;
mod machine;
mod proxy;
mod scripts;
mod sessions;
mod steps;
mod symbols;
mod values;
