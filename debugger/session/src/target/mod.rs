//! The Wasm state of one stop: activations, linear memory, globals; read over the connection when first
//! asked for and kept, since nothing moves while the slot stands. Knows nothing of source and types.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmdbg_control::Client;
use wasmdbg_control::state::{ReadMemory, Value as Wire, WriteGlobal, WriteMemory};
use wasmdbg_control::stop::{Frame as WireFrame, GetFrames, MAX_FRAMES, Stopped};
use wasmdbg_control::stream::{Property, ReadStream, StreamState};
use wasmdbg_symbols::StackFrame;
use wasmdbg_symbols::{Machine, ModulePc, Symbols, Unreadable, WasmValue};

use crate::error::Error;

/// Bytes read at once: a frame's variables lie close together, and one round trip costs more than this.
const PAGE: u64 = 4096;

/// The most bytes of one request (`ReadMemory::length`).
const MOST_BYTES: u64 = 512 * 1024;

/// The most frames asked for at once; a frame with its locals is about 1 KiB of JSON.
const MOST_FRAMES: u32 = 256;

/// The linear memory that DWARF addresses mean.
const MEMORY: u32 = 0;

/// The state of a stopped slot.
#[derive(Debug)]
pub(crate) struct Target {
    client: Client,
    info: Stopped,
    symbols: Option<Arc<Symbols>>,
    activations: Mutex<Vec<WireFrame>>,
    memory: Mutex<Memory>,
    globals: Mutex<Option<Arc<[Wire]>>>,
    stream: Mutex<Option<Arc<StreamState>>>,
    /// Of the activations known when last asked; more are known after a deeper look.
    stack_pointers: Mutex<Vec<Option<u32>>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// By page number; the memory's last page can be short.
    pages: BTreeMap<u64, Arc<[u8]>>,
    /// Of the whole memory in bytes, once known.
    size: Option<u64>,
}

impl Target {
    pub(crate) fn new(client: Client, info: Stopped, symbols: Option<Arc<Symbols>>) -> Self {
        let activations = Mutex::new(info.frames.clone());
        Self {
            client,
            info,
            symbols,
            activations,
            memory: Mutex::default(),
            globals: Mutex::default(),
            stream: Mutex::default(),
            stack_pointers: Mutex::default(),
        }
    }

    pub(crate) fn info(&self) -> &Stopped {
        &self.info
    }

    pub(crate) fn symbols(&self) -> Option<&Arc<Symbols>> {
        self.symbols.as_ref()
    }

    /// Activation `index`, 0 being the innermost; `None` after the outermost.
    pub(crate) fn activation(&self, index: u32) -> Result<Option<WireFrame>, Error> {
        if index >= self.info.frame_count.min(MAX_FRAMES) {
            return Ok(None);
        }
        loop {
            let known = {
                let activations = lock(&self.activations);
                if let Some(frame) = activations.get(index as usize) {
                    return Ok(Some(frame.clone()));
                }
                activations.len() as u32
            };
            let request = GetFrames { stop: self.info.stop, first: known, count: MOST_FRAMES };
            let list = self.client.call(request)?;
            if list.frames.is_empty() {
                return Ok(None);
            }
            let mut activations = lock(&self.activations);
            // Another thread may have asked for the same ones meanwhile.
            if activations.len() as u32 == known {
                activations.extend(list.frames);
            }
        }
    }

    /// The pc to look activation `index` up with: in callers it is a return address, which may already
    /// belong to the next line.
    pub(crate) fn lookup_pc(index: u32, frame: &WireFrame) -> ModulePc {
        if index == 0 { frame.pc } else { frame.pc.before_return() }
    }

    /// `length` bytes of linear memory at `address`, or why not.
    pub(crate) fn read(&self, address: u64, length: u64) -> Result<Vec<u8>, Unreadable> {
        let bytes = self.read_up_to(address, length)?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        let size = lock(&self.memory).size.unwrap_or(0);
        Err(Unreadable(format!("address {address:#x} + {length} is outside the memory of {size} bytes")))
    }

    /// Like [`Target::read`]; shorter at the end of the memory.
    pub(crate) fn read_up_to(&self, address: u64, length: u64) -> Result<Vec<u8>, Unreadable> {
        let end = address.checked_add(length).ok_or_else(|| Unreadable("the address overflows".into()))?;
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(MOST_BYTES)).unwrap_or(0));
        let mut at = address;
        while at < end {
            let page = self.page(at / PAGE, (end - 1) / PAGE)?;
            let from = (at % PAGE) as usize;
            let until = ((end - at / PAGE * PAGE).min(PAGE) as usize).min(page.len());
            if from >= until {
                break;
            }
            bytes.extend_from_slice(&page[from..until]);
            at += (until - from) as u64;
        }
        Ok(bytes)
    }

    /// Page `number`; the missing ones up to `last` come with the same round trip.
    fn page(&self, number: u64, last: u64) -> Result<Arc<[u8]>, Unreadable> {
        let mut memory = lock(&self.memory);
        if let Some(page) = memory.pages.get(&number) {
            return Ok(Arc::clone(page));
        }
        if memory.size.is_some_and(|size| number * PAGE >= size) {
            return Ok(Arc::from([]));
        }
        let known = memory.pages.range(number..=last).next().map_or(last + 1, |(page, _)| *page);
        let length = ((known - number) * PAGE).min(MOST_BYTES) as u32;
        let request = ReadMemory { stop: self.info.stop, memory: MEMORY, address: number * PAGE, length };
        let reply = self.client.call(request).map_err(|error| Unreadable(error.to_string()))?;
        memory.size = Some(reply.size);
        for (index, chunk) in reply.data.chunks(PAGE as usize).enumerate() {
            // A short reply in the middle of the memory must not pass for the memory's end.
            let begin = (number + index as u64) * PAGE;
            if chunk.len() as u64 == PAGE || begin + chunk.len() as u64 >= reply.size {
                memory.pages.insert(number + index as u64, Arc::from(chunk));
            }
        }
        match memory.pages.get(&number) {
            Some(page) => Ok(Arc::clone(page)),
            None if number * PAGE >= reply.size => Ok(Arc::from([])),
            None => Err(Unreadable("the proxy sent less memory than was asked for".into())),
        }
    }

    /// The globals by index.
    pub(crate) fn globals(&self) -> Result<Arc<[Wire]>, Unreadable> {
        let mut globals = lock(&self.globals);
        if let Some(known) = &*globals {
            return Ok(Arc::clone(known));
        }
        let read = self.client.globals(self.info.stop);
        let read = read.map_err(|error| Unreadable(error.to_string()))?;
        Ok(Arc::clone(globals.insert(read.into())))
    }

    /// The transaction's header maps and properties, and the filter's settings.
    pub(crate) fn stream(&self) -> Result<Arc<StreamState>, Unreadable> {
        let mut stream = lock(&self.stream);
        if let Some(known) = &*stream {
            return Ok(Arc::clone(known));
        }
        let state = self.read_stream(Vec::new())?;
        Ok(Arc::clone(stream.insert(Arc::new(state))))
    }

    /// A property that is not among those of [`Target::stream`]; `None`: it has no value now.
    pub(crate) fn property(&self, path: &str) -> Result<Option<Property>, Unreadable> {
        let state = self.read_stream(vec![path.to_owned()])?;
        Ok(state.properties.into_iter().find(|(known, _)| known == path).map(|(_, value)| value))
    }

    fn read_stream(&self, properties: Vec<String>) -> Result<StreamState, Unreadable> {
        if !self.client.welcome().capabilities.iter().any(|name| name == "stream") {
            let why =
                "the proxy's plugin is older than this and does not show headers and properties: update it";
            return Err(Unreadable(why.into()));
        }
        let asked = ReadStream { stop: self.info.stop, properties };
        self.client.call(asked).map_err(|error| Unreadable(error.to_string()))
    }

    /// Writes linear memory; what was read of it before is forgotten.
    pub(crate) fn write(&self, address: u64, data: Vec<u8>) -> Result<(), Error> {
        self.client.call(WriteMemory { stop: self.info.stop, memory: MEMORY, address, data })?;
        *lock(&self.memory) = Memory::default();
        Ok(())
    }

    /// Sets a global.
    pub(crate) fn write_global(&self, index: u32, value: Wire) -> Result<(), Error> {
        self.client.call(WriteGlobal { stop: self.info.stop, index, value })?;
        *lock(&self.globals) = None;
        // What was derived of the stack pointer does not hold any more.
        lock(&self.stack_pointers).clear();
        Ok(())
    }

    pub(crate) fn global(&self, index: u32) -> Result<WasmValue, Unreadable> {
        let globals = self.globals()?;
        let value =
            globals.get(index as usize).ok_or_else(|| Unreadable(format!("there is no global {index}")))?;
        wasm_value(value)
    }

    /// The stack pointer as activation `index` left it, see [`Symbols::stack_pointers`].
    fn stack_pointer(&self, index: u32) -> Result<u32, Unreadable> {
        let unknown = || Unreadable("the stack pointer of this frame cannot be told from its code".into());
        let symbols = self.symbols.as_ref().ok_or_else(unknown)?;
        let mut pointers = lock(&self.stack_pointers);
        if pointers.len() <= index as usize {
            let frames = lock(&self.activations).clone();
            let readers: Vec<_> = frames.iter().map(|frame| |local: u32| i32_local(frame, local)).collect();
            let stack: Vec<_> = frames
                .iter()
                .zip(&readers)
                .map(|(frame, local)| StackFrame { function: frame.function, pc: frame.pc, local })
                .collect();
            let global = symbols.module().stack_pointer_global();
            let value = global.and_then(|global| match self.global(global) {
                Ok(WasmValue::I32(value)) => Some(value),
                _ => None,
            });
            *pointers = symbols.stack_pointers(value, &stack);
        }
        pointers.get(index as usize).copied().flatten().ok_or_else(unknown)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn i32_local(frame: &WireFrame, index: u32) -> Option<u32> {
    match frame.locals.get(index as usize)? {
        Wire::I32(value) => Some(value.cast_unsigned()),
        _ => None,
    }
}

/// A value of the wire as the symbols crate wants it.
pub(crate) fn wasm_value(value: &Wire) -> Result<WasmValue, Unreadable> {
    Ok(match value {
        Wire::I32(value) => WasmValue::I32(value.cast_unsigned()),
        Wire::I64(value) => WasmValue::I64(value.cast_unsigned()),
        Wire::F32(bits) => WasmValue::F32(*bits),
        Wire::F64(bits) => WasmValue::F64(*bits),
        Wire::V128(hex) => WasmValue::V128(
            u128::from_str_radix(hex, 16).map_err(|_| Unreadable("a malformed v128".into()))?.to_le_bytes(),
        ),
        Wire::Ref(what) => return Err(Unreadable(format!("a reference ({what})"))),
        Wire::Unknown => return Err(Unreadable("the engine does not know this value".into())),
    })
}

/// One activation, for DWARF locations.
pub(crate) struct Activation<'a> {
    pub(crate) target: &'a Target,
    pub(crate) index: u32,
    pub(crate) frame: &'a WireFrame,
}

impl Machine for Activation<'_> {
    fn local(&self, index: u32) -> Result<WasmValue, Unreadable> {
        let local = self.frame.locals.get(index as usize);
        wasm_value(local.ok_or_else(|| Unreadable(format!("the frame has no local {index}")))?)
    }

    fn operand(&self, index: u32) -> Result<WasmValue, Unreadable> {
        let operand = self.frame.operands.get(index as usize);
        wasm_value(operand.ok_or_else(|| Unreadable(format!("the operand stack has no slot {index}")))?)
    }

    fn global(&self, index: u32) -> Result<WasmValue, Unreadable> {
        self.target.global(index)
    }

    fn stack_pointer(&self) -> Result<u32, Unreadable> {
        self.target.stack_pointer(self.index)
    }

    fn memory(&self, address: u64, len: usize) -> Result<Vec<u8>, Unreadable> {
        self.target.read(address, len as u64)
    }
}
