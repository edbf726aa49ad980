//! HTTP at both ends: requests from a port or from a file, one at a time through the filter to the upstream.

pub(crate) mod listen;
pub(crate) mod play;
pub mod request_file;
pub(crate) mod serve;
