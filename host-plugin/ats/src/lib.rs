//! The Apache Traffic Server plugin.
