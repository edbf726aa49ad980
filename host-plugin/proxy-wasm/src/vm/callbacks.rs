//! The callbacks of a module, typed and looked up once per virtual machine, and how they are called. Made of
//! the table in [`super::entry`]; decides nothing.

use std::future::Future;
use std::pin::Pin;

use wasmdbg_control::ContextId;
use wasmtime::{AsContextMut, Instance, Memory, Module, Store, TypedFunc, WasmParams, WasmResults};

use super::entry::{Callback, Entry, ROOT_CONTEXT, Returns, callbacks, is_called, result};
use super::state::VmState;

/// The callbacks that a module exports and this host never calls, in the order of the module.
pub(crate) fn never_called(module: &Module) -> Vec<&str> {
    // The allocator has the name of a callback.
    let called = |name: &str| is_called(name) || name == "proxy_on_memory_allocate";
    let names = module.exports().map(|export| export.name());
    names.filter(|name| name.starts_with("proxy_on_") && !called(name)).collect()
}

/// An argument as the guest gets it.
trait Argument {
    fn number(self) -> i32;
}

impl Argument for u32 {
    fn number(self) -> i32 {
        self.cast_signed()
    }
}

impl Argument for bool {
    fn number(self) -> i32 {
        i32::from(self)
    }
}

impl Argument for ContextId {
    fn number(self) -> i32 {
        self.0.cast_signed()
    }
}

/// The type of an argument as the guest gets it.
macro_rules! number {
    ($type:ty) => {
        i32
    };
}

/// A callback that a module may have.
type Slot<P, R> = Option<TypedFunc<P, <R as Returns>::Number>>;

/// What can be done with the slot of an entry.
trait Visit<'a> {
    type Output;

    fn slot<P, R>(self, slot: &'a Slot<P, R>, arguments: P) -> Self::Output
    where
        P: WasmParams + Sync + 'a,
        R: Returns<Number: WasmResults + Sync>;
}

macro_rules! slots {
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
        /// The callbacks that a module exports and its filter may use.
        #[expect(non_snake_case, reason = "each has the name of its row")]
        pub(crate) struct Callbacks {
            $($Module: Slot<($($(number!($module_type),)*)?), result!($($module_result)?)>,)*
            $($Root: Slot<(i32, $($(number!($root_type),)*)?), result!($($root_result)?)>,)*
            $($Any: Slot<(i32, $($(number!($any_type),)*)?), result!($($any_result)?)>,)*
            $($Stream: Slot<(i32, i32, $($(number!($stream_type),)*)?), i32>,)*
            short: Short,
        }

        /// Callbacks of streams as version 0.1.0 of the ABI has them, where a module has them so: with the size alone.
        #[derive(Default)]
        #[expect(non_snake_case, reason = "each has the name of its row")]
        struct Short {
            $($Stream: Slot<(i32, i32), i32>,)*
        }

        impl Callbacks {
            fn look_up(lookup: &mut Lookup<'_>) -> Result<Self, WrongType> {
                let mut short = Short::default();
                Ok(Self {
                    $($Module: lookup.function($module_export)?,)*
                    $($Root: lookup.callback($root_export)?,)*
                    $($Any: lookup.callback($any_export)?,)*
                    $($Stream: lookup.stream($stream_export, &mut short.$Stream)?,)*
                    short,
                })
            }

            #[inline]
            fn visit<'a, V: Visit<'a>>(&'a self, entry: Entry, visit: V) -> V::Output {
                match entry {
                    $(Entry::$Module $({ $($module_argument),* })? => visit
                        .slot::<_, result!($($module_result)?)>(
                            &self.$Module, ($($($module_argument.number(),)*)?)
                        ),)*
                    $(Entry::$Root $({ $($root_argument),* })? => visit
                        .slot::<_, result!($($root_result)?)>(
                            &self.$Root, (ROOT_CONTEXT.number(), $($($root_argument.number(),)*)?)
                        ),)*
                    $(Entry::$Any { context, $($($any_argument),*)? } => visit
                        .slot::<_, result!($($any_result)?)>(
                            &self.$Any, (context.number(), $($($any_argument.number(),)*)?)
                        ),)*
                    Entry::Stream { context, callback, size } => match callback {
                        $(Callback::$Stream { .. } if self.short.$Stream.is_some() => visit
                            .slot::<_, i32>(&self.short.$Stream, (context.number(), size.number())),)*
                        $(Callback::$Stream $({ $($stream_argument),* })? => visit
                            .slot::<_, i32>(
                                &self.$Stream,
                                (context.number(), size.number(), $($($stream_argument.number(),)*)?)
                            ),)*
                    },
                }
            }
        }
    };
}

callbacks!(slots);

/// Whether there is one.
struct IsThere;

impl Visit<'_> for IsThere {
    type Output = bool;

    #[inline]
    fn slot<P, R: Returns>(self, slot: &Slot<P, R>, _: P) -> bool {
        slot.is_some()
    }
}

/// Calls it on the calling thread's stack.
struct Call<S>(S);

impl<S: AsContextMut<Data = VmState>> Visit<'_> for Call<S> {
    type Output = wasmtime::Result<i32>;

    #[inline]
    fn slot<P: WasmParams, R: Returns<Number: WasmResults>>(
        self,
        slot: &Slot<P, R>,
        arguments: P,
    ) -> Self::Output {
        match slot {
            Some(function) => function.call(self.0, arguments).map(R::number),
            None => Ok(R::ABSENT),
        }
    }
}

/// Calls it on a stack of its own.
struct CallAsync<S>(S);

impl<'a, S: AsContextMut<Data = VmState> + 'a> Visit<'a> for CallAsync<S> {
    type Output = Pin<Box<dyn Future<Output = wasmtime::Result<i32>> + 'a>>;

    fn slot<P, R>(self, slot: &'a Slot<P, R>, arguments: P) -> Self::Output
    where
        P: WasmParams + Sync + 'a,
        R: Returns<Number: WasmResults + Sync>,
    {
        Box::pin(async move {
            match slot {
                Some(function) => function.call_async(self.0, arguments).await.map(R::number),
                None => Ok(R::ABSENT),
            }
        })
    }
}

impl Callbacks {
    /// Looks all of them up, and puts memory and allocator where host functions find them.
    pub(crate) fn resolve(store: &mut Store<VmState>, instance: &Instance) -> Result<Self, WrongType> {
        let mut lookup = Lookup { instance, store };
        let callbacks = Self::look_up(&mut lookup)?;
        let allocate = match lookup.function("proxy_on_memory_allocate")? {
            Some(function) => Some(function),
            None => lookup.function("malloc")?,
        };
        let memory: Option<Memory> = instance.get_memory(&mut *store, "memory");
        let state = store.data_mut();
        state.allocate = allocate;
        state.memory = memory;
        Ok(callbacks)
    }

    /// Whether calling `entry` would run anything.
    #[inline]
    pub(crate) fn has(&self, entry: Entry) -> bool {
        self.visit(entry, IsThere)
    }

    /// Enters the guest on the calling thread's stack. Without such an export:
    /// [`Entry::default_result`].
    #[inline]
    pub(crate) fn call(
        &self,
        store: impl AsContextMut<Data = VmState>,
        entry: Entry,
    ) -> wasmtime::Result<i32> {
        self.visit(entry, Call(store))
    }

    /// As [`Callbacks::call`], on a stack of its own, for stores with a debug handler.
    pub(crate) async fn call_async(
        &self,
        store: impl AsContextMut<Data = VmState>,
        entry: Entry,
    ) -> wasmtime::Result<i32> {
        self.visit(entry, CallAsync(store)).await
    }
}

/// An export has another type than the ABI says.
#[derive(Debug, thiserror::Error)]
#[error("export {export}: {error:#}")]
pub struct WrongType {
    export: &'static str,
    error: wasmtime::Error,
}

struct Lookup<'a> {
    instance: &'a Instance,
    store: &'a mut Store<VmState>,
}

impl Lookup<'_> {
    fn function<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, WrongType> {
        let Some(function) = self.instance.get_func(&mut *self.store, name) else { return Ok(None) };
        let typed = function.typed(&*self.store);
        typed.map(Some).map_err(|error| WrongType { export: name, error })
    }

    /// A callback of a stream, which goes to `short` if that is its type.
    fn stream<P: WasmParams>(
        &mut self,
        name: &'static str,
        short: &mut Slot<(i32, i32), i32>,
    ) -> Result<Option<TypedFunc<P, i32>>, WrongType> {
        let found = self.callback(name);
        if found.is_err()
            && self.store.data().core.is_oldest()
            && let Ok(Some(function)) = self.callback(name)
        {
            *short = Some(function);
            return Ok(None);
        }
        found
    }

    /// A callback that the filter's capabilities may forbid.
    fn callback<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<TypedFunc<P, R>>, WrongType> {
        let allowed = self.store.data().core.config.capabilities.as_ref();
        if allowed.is_some_and(|names| !names.contains(name)) {
            return Ok(None);
        }
        self.function(name)
    }
}
