//! Makes host functions of plain ones, for either lane.
//!
//! A host function is written once, takes decoded numbers and never enters the guest. Those that hand
//! bytes over leave them in the store's scratch buffer; the wrapper here lets the guest allocate (`call`
//! on the fast lane, `call_async` on the debug lane), looks the memory up again (it may have grown) and
//! copies.

use wasmtime::{Caller, Engine, Extern, ImportType, Linker, Memory, TypedFunc, WasmTy};

use crate::embedder::Status;
use crate::vm::guest::{Guest, Place, write, write_u32};
use crate::vm::state::VmState;
use crate::vm::trap::Stop;

/// The module that Proxy-Wasm functions are imported from.
pub(super) const ENV: &str = "env";
/// The modules that WASI functions are imported from.
pub(super) const WASI: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// How a virtual machine is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the calling thread's own stack.
    Fast,
    /// On a stack of its own, under a debug handler.
    Debug,
}

/// The functions the host has, by topic: see [`define`](super::define).
pub(super) struct Table {
    linker: Linker<VmState>,
    lane: Lane,
    names: Vec<(&'static str, &'static str)>,
    placing: Vec<&'static str>,
    either: Vec<(&'static str, Either)>,
}

/// A function without arguments whose import has a result or none.
type Either = fn(&mut Guest<'_>) -> Result<(), Status>;

impl Table {
    pub(super) fn new(engine: &Engine, lane: Lane) -> Self {
        let (names, placing, either) = (Vec::new(), Vec::new(), Vec::new());
        Self { linker: Linker::new(engine), lane, names, placing, either }
    }

    /// Whether the host has this function.
    pub(super) fn has(&self, import: &ImportType<'_>) -> bool {
        self.names.contains(&(import.module(), import.name()))
    }

    /// The name of a function that needs memory from the guest.
    pub(super) fn needs_memory(&self, import: &ImportType<'_>) -> Option<&'static str> {
        self.placing.iter().copied().find(|name| import.module() == ENV && import.name() == *name)
    }

    /// To define what a single module imports besides, or instead.
    pub(super) fn linker(&mut self) -> &mut Linker<VmState> {
        self.linker.allow_shadowing(true);
        &mut self.linker
    }

    /// A function of `env` that needs nothing from the guest.
    pub(super) fn env<P>(&mut self, name: &'static str, function: impl Direct<P>) -> wasmtime::Result<()> {
        self.names.push((ENV, name));
        function.define(&mut self.linker, ENV, name)
    }

    /// A function of `env` that hands bytes over.
    pub(super) fn env_placing<P>(
        &mut self,
        name: &'static str,
        function: impl Placing<P>,
    ) -> wasmtime::Result<()> {
        self.names.push((ENV, name));
        self.placing.push(name);
        match self.lane {
            Lane::Fast => function.define_sync(&mut self.linker, name),
            Lane::Debug => function.define_async(&mut self.linker, name),
        }
    }

    /// A function of `env` that returns nothing and touches nothing.
    pub(super) fn env_silent(&mut self, name: &'static str, function: fn(u32)) -> wasmtime::Result<()> {
        self.names.push((ENV, name));
        self.linker.func_wrap(ENV, name, function)?;
        Ok(())
    }

    /// A function of `env` without arguments, on whose result the versions of the ABI and their hosts disagree: it is
    /// defined with the type that a module imports.
    pub(super) fn env_either(&mut self, name: &'static str, function: Either) {
        self.either.push((name, function));
    }

    /// Defines what is there for either type, with that of `import`. False when it is something else.
    pub(super) fn define_either(&mut self, import: &ImportType<'_>) -> wasmtime::Result<bool> {
        let named = |(name, _): &&(&'static str, Either)| import.module() == ENV && import.name() == *name;
        let Some((name, function)) = self.either.iter().find(named).copied() else { return Ok(false) };
        if import.ty().func().is_some_and(|ty| ty.results().len() == 0) {
            self.linker.func_wrap(
                ENV,
                name,
                move |mut caller: Caller<'_, VmState>| -> wasmtime::Result<()> {
                    let memory = memory(&mut caller)?;
                    let (memory, vm) = memory.data_and_store_mut(&mut caller);
                    // The guest cannot be told.
                    let _ = function(&mut Guest { memory, vm });
                    Ok(())
                },
            )?;
        } else {
            function.define(&mut self.linker, ENV, name)?;
        }
        Ok(true)
    }

    /// A WASI function, under both names of its module.
    pub(super) fn wasi<P>(&mut self, name: &'static str, function: impl Direct<P>) -> wasmtime::Result<()> {
        for module in WASI {
            self.names.push((module, name));
            function.define(&mut self.linker, module, name)?;
        }
        Ok(())
    }

    /// A WASI function that ends the guest.
    pub(super) fn wasi_ending(
        &mut self,
        name: &'static str,
        function: fn(i32) -> Stop,
    ) -> wasmtime::Result<()> {
        for module in WASI {
            self.names.push((module, name));
            self.linker.func_wrap(module, name, move |code: i32| -> wasmtime::Result<()> {
                Err(function(code).into())
            })?;
        }
        Ok(())
    }
}

/// What a host function answers, as the guest gets it.
pub(super) trait Answer {
    /// # Errors
    /// The guest does not go on.
    fn code(self) -> wasmtime::Result<i32>;
}

impl Answer for Result<(), Status> {
    fn code(self) -> wasmtime::Result<i32> {
        Ok(match self {
            Ok(()) => Status::Ok as i32,
            Err(status) => status as i32,
        })
    }
}

/// Why a host function that looks at its CPU time did not do what it was asked.
pub(super) enum Failure<E> {
    /// The guest gets an answer.
    Answer(E),
    /// Its callback ends.
    Stop(Stop),
}

impl<E> From<Stop> for Failure<E> {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl<E: From<Status>> From<Status> for Failure<E> {
    fn from(status: Status) -> Self {
        Self::Answer(status.into())
    }
}

impl<E> Answer for Result<(), Failure<E>>
where
    Result<(), E>: Answer,
{
    fn code(self) -> wasmtime::Result<i32> {
        match self {
            Ok(()) => Result::<(), E>::Ok(()).code(),
            Err(Failure::Answer(error)) => Result::<(), E>::Err(error).code(),
            Err(Failure::Stop(stop)) => Err(stop.into()),
        }
    }
}

/// A host function that needs nothing from the guest; the same in both lanes.
pub(super) trait Direct<P>: Copy + Send + Sync + 'static {
    fn define(
        self,
        linker: &mut Linker<VmState>,
        module: &'static str,
        name: &'static str,
    ) -> wasmtime::Result<()>;
}

/// A host function that hands bytes over: it leaves them in the scratch buffer.
pub(super) trait Placing<P>: Copy + Send + Sync + 'static {
    fn define_sync(self, linker: &mut Linker<VmState>, name: &'static str) -> wasmtime::Result<()>;
    fn define_async(self, linker: &mut Linker<VmState>, name: &'static str) -> wasmtime::Result<()>;
}

macro_rules! arity {
    ($($argument:ident)*) => {
        impl<F, A, $($argument),*> Direct<(A, $($argument,)*)> for F
        where
            F: Fn(&mut Guest<'_>, $($argument),*) -> A + Copy + Send + Sync + 'static,
            A: Answer,
            $($argument: WasmTy,)*
        {
            #[allow(non_snake_case)]
            fn define(
                self,
                linker: &mut Linker<VmState>,
                module: &'static str,
                name: &'static str,
            ) -> wasmtime::Result<()> {
                linker.func_wrap(module, name, move |mut caller: Caller<'_, VmState>, $($argument: $argument),*| {
                    let memory = memory(&mut caller)?;
                    let (memory, vm) = memory.data_and_store_mut(&mut caller);
                    self(&mut Guest { memory, vm }, $($argument),*).code()
                })?;
                Ok(())
            }
        }

        impl<F, $($argument),*> Placing<($($argument,)*)> for F
        where
            F: Fn(&mut Guest<'_>, $($argument),*) -> Result<Place, Status> + Copy + Send + Sync + 'static,
            $($argument: WasmTy + Sync + 'static,)*
        {
            #[allow(non_snake_case)]
            fn define_sync(self, linker: &mut Linker<VmState>, name: &'static str) -> wasmtime::Result<()> {
                linker.func_wrap(ENV, name, move |mut caller: Caller<'_, VmState>, $($argument: $argument),*| {
                    let memory = memory(&mut caller)?;
                    let (bytes, vm) = memory.data_and_store_mut(&mut caller);
                    let place = match self(&mut Guest { memory: bytes, vm }, $($argument),*) {
                        Ok(place) => place,
                        Err(status) => return Ok(status as i32),
                    };
                    let pointer = match Allocation::of(&caller) {
                        Allocation::Nothing => 0,
                        Allocation::Size(size, Some(allocate)) => allocate.call(&mut caller, size)?,
                        Allocation::Size(_, None) => return Ok(Status::InternalFailure as i32),
                    };
                    copy(&mut caller, memory, place, pointer).code()
                })?;
                Ok(())
            }

            #[allow(non_snake_case)]
            fn define_async(self, linker: &mut Linker<VmState>, name: &'static str) -> wasmtime::Result<()> {
                linker.func_wrap_async(ENV, name, move |mut caller: Caller<'_, VmState>, ($($argument,)*): ($($argument,)*)| {
                    Box::new(async move {
                        let memory = memory(&mut caller)?;
                        let (bytes, vm) = memory.data_and_store_mut(&mut caller);
                        let place = match self(&mut Guest { memory: bytes, vm }, $($argument),*) {
                            Ok(place) => place,
                            Err(status) => return Ok(status as i32),
                        };
                        let pointer = match Allocation::of(&caller) {
                            Allocation::Nothing => 0,
                            Allocation::Size(size, Some(allocate)) => allocate.call_async(&mut caller, size).await?,
                            Allocation::Size(_, None) => return Ok(Status::InternalFailure as i32),
                        };
                        copy(&mut caller, memory, place, pointer).code()
                    })
                })?;
                Ok(())
            }
        }
    };
}

arity!();
arity!(A1);
arity!(A1 A2);
arity!(A1 A2 A3);
arity!(A1 A2 A3 A4);
arity!(A1 A2 A3 A4 A5);
arity!(A1 A2 A3 A4 A5 A6);
arity!(A1 A2 A3 A4 A5 A6 A7);
arity!(A1 A2 A3 A4 A5 A6 A7 A8);
arity!(A1 A2 A3 A4 A5 A6 A7 A8 A9);

/// What the guest is asked to allocate.
enum Allocation {
    /// An empty value is a null pointer, as in the reference host.
    Nothing,
    Size(u32, Option<TypedFunc<u32, u32>>),
}

impl Allocation {
    fn of(caller: &Caller<'_, VmState>) -> Self {
        let state = caller.data();
        match u32::try_from(state.scratch.len()) {
            Ok(0) => Self::Nothing,
            Ok(size) => Self::Size(size, state.allocate.clone()),
            Err(_) => Self::Size(0, None),
        }
    }
}

/// Puts the scratch buffer at `pointer` and says so at `place`.
fn copy(caller: &mut Caller<'_, VmState>, memory: Memory, place: Place, pointer: u32) -> Result<(), Status> {
    let (memory, vm) = memory.data_and_store_mut(caller);
    // The length fits: it was asked of the allocator as a u32.
    let size = vm.scratch.len() as u32;
    if size > 0 && pointer == 0 {
        return Err(Status::InternalFailure);
    }
    write(memory, pointer, size)?.copy_from_slice(&vm.scratch);
    write_u32(memory, place.pointer_at, pointer)?;
    write_u32(memory, place.size_at, size)
}

/// The guest's memory; looked up by name while the module is still being instantiated.
fn memory(caller: &mut Caller<'_, VmState>) -> wasmtime::Result<Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => Err(Stop::NoMemory.into()),
    }
}
