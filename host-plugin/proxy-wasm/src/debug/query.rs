//! Answers to requests about a standing guest: frames, memory, globals. Reads and writes the guest's
//! state, never its control flow.
use wasmdbg_control::state::{
    GlobalValues, GlobalWritten, MemoryBytes, MemoryWritten, ReadMemory, WriteGlobal, WriteMemory,
};
use wasmdbg_control::stop::FrameList;
use wasmdbg_control::{ErrorKind, MAX_LIST, Reply, Request, WireError};
use wasmtime::{AsContextMut, Instance, Memory, Mutability};

use super::frames::{Frames, to_val, value};

/// Bytes of memory in one answer.
const MEMORY: usize = 512 << 10;

/// Answers `request`.
///
/// # Errors
/// What it names is not there, or cannot be written.
pub(crate) fn answer<T: 'static>(frames: &mut Frames<'_, T>, request: Request) -> Result<Reply, WireError> {
    match request {
        Request::Frames(asked) => {
            let (list, frame_count) = frames.read(asked.first, asked.count);
            Ok(FrameList { frames: list, frame_count }.into())
        }
        Request::ReadMemory(asked) => read_memory(frames, &asked),
        Request::WriteMemory(asked) => write_memory(frames, &asked),
        Request::ReadGlobals(asked) => read_globals(frames, asked.first),
        Request::WriteGlobal(asked) => write_global(frames, &asked),
        _ => Err(WireError::new(
            ErrorKind::Internal,
            "this request is not about a stop: a fault of the plugin",
        )),
    }
}

fn instance<T: 'static>(frames: &mut Frames<'_, T>) -> Result<Instance, WireError> {
    frames.instance().ok_or_else(|| WireError::new(ErrorKind::State, "the guest has no frame here"))
}

fn memory<T: 'static>(frames: &mut Frames<'_, T>, index: u32) -> Result<Memory, WireError> {
    let instance = instance(frames)?;
    instance
        .debug_memory(frames.store.as_context_mut(), index)
        .ok_or_else(|| WireError::new(ErrorKind::NotFound, format!("the module has no memory {index}")))
}

fn read_memory<T: 'static>(frames: &mut Frames<'_, T>, asked: &ReadMemory) -> Result<Reply, WireError> {
    let memory = memory(frames, asked.memory)?;
    let bytes = memory.data(&frames.store);
    let start = usize::try_from(asked.address).unwrap_or(usize::MAX).min(bytes.len());
    let length = MEMORY.min(asked.length as usize).min(bytes.len() - start);
    let data = bytes[start..start + length].to_vec();
    Ok(MemoryBytes { size: bytes.len() as u64, data }.into())
}

fn write_memory<T: 'static>(frames: &mut Frames<'_, T>, asked: &WriteMemory) -> Result<Reply, WireError> {
    let memory = memory(frames, asked.memory)?;
    let bytes = memory.data_mut(&mut frames.store);
    let size = bytes.len();
    let target = usize::try_from(asked.address)
        .ok()
        .and_then(|start| bytes.get_mut(start..start.checked_add(asked.data.len())?));
    let Some(target) = target else {
        let text = format!(
            "{} bytes at {:#x} do not lie in the memory of {size} bytes: nothing was written",
            asked.data.len(),
            asked.address
        );
        return Err(WireError::new(ErrorKind::NotFound, text));
    };
    target.copy_from_slice(&asked.data);
    Ok(MemoryWritten {}.into())
}

fn read_globals<T: 'static>(frames: &mut Frames<'_, T>, first: u32) -> Result<Reply, WireError> {
    let instance = instance(frames)?;
    let (mut globals, mut left, mut count) = (Vec::new(), MAX_LIST, 0);
    while let Some(global) = instance.debug_global(frames.store.as_context_mut(), count) {
        if count >= first && left > 0 {
            let read = value(global.get(&mut frames.store));
            match left.checked_sub(read.wire_size()) {
                Some(rest) => {
                    left = rest;
                    globals.push(read);
                }
                None => left = 0,
            }
        }
        count += 1;
    }
    Ok(GlobalValues { globals, count }.into())
}

fn write_global<T: 'static>(frames: &mut Frames<'_, T>, asked: &WriteGlobal) -> Result<Reply, WireError> {
    let instance = instance(frames)?;
    let global = instance.debug_global(frames.store.as_context_mut(), asked.index).ok_or_else(|| {
        WireError::new(ErrorKind::NotFound, format!("the module has no global {}", asked.index))
    })?;
    let refuse = |text: String| WireError::new(ErrorKind::State, text);
    if global.ty(&frames.store).mutability() == Mutability::Const {
        return Err(refuse(format!("global {} is constant", asked.index)));
    }
    let written = to_val(&asked.value).ok_or_else(|| refuse(String::from("references cannot be written")))?;
    global
        .set(&mut frames.store, written)
        .map_err(|error| refuse(format!("global {}: {error}", asked.index)))?;
    Ok(GlobalWritten {}.into())
}
