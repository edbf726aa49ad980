//! Newtypes for everything that is named by a number on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A filter in the order of the plugin's configuration, from 0.
    FilterId(u32)
);
id!(
    /// A client's debugging session, from its attach to its detach.
    SessionId(u64)
);
id!(
    /// A debug virtual machine of a filter: one worker on a thread of its own.
    SlotId(u32)
);
id!(
    /// One stop of one slot; never reused, so that a late command cannot hit the next stop.
    StopId(u64)
);
id!(
    /// A transaction of the proxy; shown as `#17`.
    TransactionId(u64)
);
id!(
    /// A Proxy-Wasm context inside one virtual machine (`proxy_on_context_create`).
    ContextId(u32)
);
