//! What the debug info of real compilers says, against what the programs really held.

#![allow(unreachable_pub, reason = "the modules of one test binary")]

mod bad_input;
mod by_hand;
mod functions;
mod go;
mod lines;
mod recording;
mod render;
mod source_maps;
mod types;
mod values;
