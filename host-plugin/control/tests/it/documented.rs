//! See docs/CONTROL_PROTOCOL.md.
