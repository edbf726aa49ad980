//! What an attach says while it is under way.

use wasmdbg_control::session::LaneProgress;

/// What happens during [`crate::Session::attach`].
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The plugin makes a debug lane ready.
    Lane(LaneProgress),
    /// A module is read over the socket, `done` of `size` bytes.
    ReadingModule {
        /// The filter's name.
        filter: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        size: u64,
    },
}
