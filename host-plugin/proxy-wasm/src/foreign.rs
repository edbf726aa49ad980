//! Foreign functions: what filters call by name (`proxy_call_foreign_function`) and no version of the ABI knows. The
//! registry of a process; a host adds its own ([`Embedder::foreign_functions`](crate::Embedder::foreign_functions)).
//!
//! There is one in every host, `clear_route_cache`, which SDKs for Envoy call after they have changed a path:
//! it has nothing to do where a request is routed after its filters have seen it. Envoy's `compress` and
//! `uncompress` are not there: no SDK needs them, and what a guest hands to a decompressor has no bound.

use std::collections::BTreeMap;
use std::fmt;

use crate::embedder::Status;

/// Appends its result to the second argument. Runs on event threads, within a callback of a guest: it must be short,
/// and bound what it makes of its arguments. Its status is what the guest gets; after an error the result is not looked
/// at.
pub type ForeignFunction = Box<dyn Fn(&[u8], &mut Vec<u8>) -> Result<(), Status> + Send + Sync>;

/// See the module.
pub struct ForeignFunctions(BTreeMap<Box<[u8]>, ForeignFunction>);

impl ForeignFunctions {
    /// Those of every host.
    pub(crate) fn usual() -> Self {
        let mut functions = Self(BTreeMap::new());
        functions.add("clear_route_cache", Box::new(|_, _| Ok(())));
        functions
    }

    /// Adds a function, in the place of the one that has this name.
    pub fn add(&mut self, name: &str, function: ForeignFunction) {
        self.0.insert(name.as_bytes().into(), function);
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&ForeignFunction> {
        self.0.get(name)
    }
}

impl fmt::Debug for ForeignFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.keys().map(|name| String::from_utf8_lossy(name));
        f.debug_set().entries(names).finish()
    }
}
