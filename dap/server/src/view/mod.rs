//! What the client knows of the session, and under which numbers.

pub(crate) mod breakpoints;
pub(crate) mod handles;
pub(crate) mod source_folders;
pub(crate) mod sources;
pub(crate) mod threads;
