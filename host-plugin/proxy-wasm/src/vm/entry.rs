//! The callbacks that this host calls, one row each. The names that the rest of the host uses for them are
//! made of this table, and so are the functions that call them ([`super::callbacks`]).
//!
//! Adding a callback is one row here and what the host does with it: pausing, sizes, names in logs, the
//! debugger and capabilities follow from the row.

use wasmdbg_control::ContextId;

use crate::embedder::HeaderMap;
use crate::outcome::StreamType;

/// The virtual machine itself, before there is any context.
pub(crate) const NO_CONTEXT: ContextId = ContextId(0);
/// The root context of the one filter that a virtual machine holds.
pub(crate) const ROOT_CONTEXT: ContextId = ContextId(1);

/// `Name { arguments } "export" -> result;`, by the context that it is called for. Its number is the first
/// argument and has no place in the row. Callbacks of a transaction have a size as the second one: of
/// what, and which way the data flows, is in the row, and all of them return whether it goes on.
macro_rules! callbacks {
    ($make:ident) => {
        $make! {
            // There is none yet.
            module {
                Initialize "_initialize";
                /// Of a module that has no `_initialize`.
                Start "_start";
                /// Of a module that has an `_initialize`.
                Main { count: u32, arguments_at: u32 } "main" -> i32;
            }
            // The root context.
            root {
                /// The size is that of `vmConfig.configuration`.
                VmStart { size: u32 } "proxy_on_vm_start" -> bool;
                /// The size is that of `configuration`.
                Configure { size: u32 } "proxy_on_configure" -> bool;
                Tick "proxy_on_tick";
                /// The number is that of `proxy_register_shared_queue`.
                QueueReady { queue: u32 } "proxy_on_queue_ready";
                /// The size is that of its arguments.
                ForeignFunction { function: u32, size: u32 } "proxy_on_foreign_function";
            }
            // The root context or that of a transaction.
            any {
                /// The parent is the root context, or 0 when that is the one created.
                ContextCreate { parent: ContextId } "proxy_on_context_create";
                Done "proxy_on_done" -> bool;
                Log "proxy_on_log";
                Delete "proxy_on_delete";
            }
            // The context of a transaction.
            stream {
                /// `proxy_on_request_headers`
                RequestHeaders {
                    /// No body follows.
                    end_of_stream: bool,
                } "proxy_on_request_headers" Request, HeaderMap::RequestHeaders;
                /// `proxy_on_response_headers`
                ResponseHeaders {
                    /// No body follows.
                    end_of_stream: bool,
                } "proxy_on_response_headers" Response, HeaderMap::ResponseHeaders;
            }
        }
    };
}
pub(super) use callbacks;

/// A type that a row names as its result.
pub(super) trait Returns {
    /// As the guest returns it.
    type Number;
    /// What counts as the result of a callback that the module does not have.
    const ABSENT: i32 = 0;
    /// Whether the guest returns anything.
    const SOME: bool = true;

    fn number(result: Self::Number) -> i32;
}

impl Returns for () {
    type Number = ();
    const SOME: bool = false;

    fn number((): ()) -> i32 {
        0
    }
}

impl Returns for i32 {
    type Number = i32;

    fn number(result: i32) -> i32 {
        result
    }
}

impl Returns for bool {
    type Number = i32;
    const ABSENT: i32 = 1;

    fn number(result: i32) -> i32 {
        result
    }
}

/// The result of a row: nothing unless it says so.
macro_rules! result {
    () => {
        ()
    };
    ($result:ty) => {
        $result
    };
}
pub(super) use result;

macro_rules! vocabulary {
    (
        module { $($(#[$module_doc:meta])* $Module:ident $({ $($module_argument:ident: $module_type:ty),* })?
            $module_export:literal $(-> $module_result:ty)?;)* }
        root { $($(#[$root_doc:meta])* $Root:ident $({ $($root_argument:ident: $root_type:ty),* })?
            $root_export:literal $(-> $root_result:ty)?;)* }
        any { $($(#[$any_doc:meta])* $Any:ident $({ $($any_argument:ident: $any_type:ty),* })?
            $any_export:literal $(-> $any_result:ty)?;)* }
        stream { $($(#[$stream_doc:meta])* $Stream:ident
            $({ $($(#[$argument_doc:meta])* $stream_argument:ident: $stream_type:ty),* $(,)? })?
            $stream_export:literal $direction:ident, $size:expr;)* }
    ) => {
        /// A callback of a transaction.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Callback {
            $($(#[$stream_doc])* $Stream $({ $($(#[$argument_doc])* $stream_argument: $stream_type),* })?,)*
        }

        impl Callback {
            /// The name of the export.
            pub fn export(self) -> &'static str {
                match self {
                    $(Self::$Stream { .. } => $stream_export,)*
                }
            }

            /// The direction that it is about: what pausing in it holds up.
            pub fn stream(self) -> StreamType {
                match self {
                    $(Self::$Stream { .. } => StreamType::$direction,)*
                }
            }

            /// What the size is of that the guest gets.
            pub(crate) fn sized_by(self) -> HeaderMap {
                match self {
                    $(Self::$Stream { .. } => $size,)*
                }
            }
        }

        /// One entry into the guest.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Entry {
            $($(#[$module_doc])* $Module $({ $($module_argument: $module_type),* })?,)*
            $($(#[$root_doc])* $Root $({ $($root_argument: $root_type),* })?,)*
            $($(#[$any_doc])* $Any { context: ContextId, $($($any_argument: $any_type),*)? },)*
            /// A callback of a transaction.
            Stream { context: ContextId, callback: Callback, size: u32 },
        }

        impl Entry {
            /// Name of the export.
            pub(crate) fn export(self) -> &'static str {
                match self {
                    $(Self::$Module { .. } => $module_export,)*
                    $(Self::$Root { .. } => $root_export,)*
                    $(Self::$Any { .. } => $any_export,)*
                    Self::Stream { callback, .. } => callback.export(),
                }
            }

            /// The context that it is made for.
            pub(crate) fn context(self) -> ContextId {
                match self {
                    $(Self::$Module { .. })|* => NO_CONTEXT,
                    $(Self::$Root { .. })|* => ROOT_CONTEXT,
                    $(Self::$Any { context, .. })|* | Self::Stream { context, .. } => context,
                }
            }

            /// Whether the export returns something.
            pub(crate) fn has_result(self) -> bool {
                match self {
                    $(Self::$Module { .. } => <result!($($module_result)?) as Returns>::SOME,)*
                    $(Self::$Root { .. } => <result!($($root_result)?) as Returns>::SOME,)*
                    $(Self::$Any { .. } => <result!($($any_result)?) as Returns>::SOME,)*
                    Self::Stream { .. } => true,
                }
            }

            /// What counts as its result when the module does not export it.
            pub(crate) fn default_result(self) -> i32 {
                match self {
                    $(Self::$Module { .. } => <result!($($module_result)?) as Returns>::ABSENT,)*
                    $(Self::$Root { .. } => <result!($($root_result)?) as Returns>::ABSENT,)*
                    $(Self::$Any { .. } => <result!($($any_result)?) as Returns>::ABSENT,)*
                    Self::Stream { .. } => 0,
                }
            }
        }

        /// The callbacks of a transaction that a filter has.
        #[derive(Debug, Clone, Copy)]
        #[expect(non_snake_case, reason = "each has the name of its row")]
        pub(crate) struct Wants {
            $($Stream: bool,)*
        }

        impl Wants {
            /// `has`: whether it has an export of that name.
            pub(crate) fn new(has: impl Fn(&str) -> bool) -> Self {
                Self { $($Stream: has($stream_export),)* }
            }

            pub(crate) fn has(self, callback: Callback) -> bool {
                match callback {
                    $(Callback::$Stream { .. } => self.$Stream,)*
                }
            }
        }

        /// The exports of all rows.
        const CALLED: &[&str] =
            &[$($module_export,)* $($root_export,)* $($any_export,)* $($stream_export,)*];
    };
}

callbacks!(vocabulary);

impl Entry {
    /// Part of a virtual machine's start, never on an event thread.
    pub(crate) fn is_start(self) -> bool {
        match self {
            Self::VmStart { .. } | Self::Configure { .. } => true,
            _ => {
                matches!(self.context(), NO_CONTEXT)
                    || matches!(self, Self::ContextCreate { context: ROOT_CONTEXT, .. })
            }
        }
    }

    /// Whether it decides about the transaction that it is made for.
    pub(crate) fn decides(self) -> bool {
        matches!(self, Self::ContextCreate { .. } | Self::Stream { .. })
    }
}

/// Whether this host calls an export of that name.
pub(crate) fn is_called(name: &str) -> bool {
    CALLED.contains(&name)
}
