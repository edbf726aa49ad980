//! Tests of the plugin as a library: loaded by a host that is not Traffic Server.

#[path = "../../src/sys/mangled.rs"]
mod mangled;
mod stand_in;
