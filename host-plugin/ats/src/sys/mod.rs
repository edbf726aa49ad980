//! Traffic Server's plugin interface as C sees it: opaque pointers, constants, and a table of
//! function pointers that is filled when the plugin is loaded.
//!
//! Nothing here has an opinion; the safe side is `crate::ts`. Raw pointers from here must not be kept
//! anywhere but in that folder's newtypes.

#![expect(unsafe_code, reason = "the server's C interface")]

mod mangled;
mod table;
mod types;

#[cfg(test)]
pub(crate) use table::load_double;
pub(crate) use table::{api, error_function, load, register_function, string_constant, version_function};
pub(crate) use types::*;
