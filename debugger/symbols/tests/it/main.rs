//! What the debug info of real compilers says, against what the programs really held.

mod recording;
mod render;
mod values;
