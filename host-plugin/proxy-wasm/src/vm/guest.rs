//! The guest as a host function sees it: its memory, checked at each access, and the state of its
//! virtual machine. Nothing here outlives the host function, and nothing here enters the guest.

use crate::embedder::Status;
use crate::vm::state::VmState;

/// See the module.
pub(crate) struct Guest<'a> {
    pub(crate) memory: &'a mut [u8],
    pub(crate) vm: &'a mut VmState,
}

/// Where the guest wants a pointer and a length written: `(return_data**, return_size*)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) pointer_at: u32,
    pub(crate) size_at: u32,
}

/// The bytes `at .. at + size`.
#[inline]
pub(crate) fn read(memory: &[u8], at: u32, size: u32) -> Result<&[u8], Status> {
    memory.get(at as usize..).and_then(|rest| rest.get(..size as usize)).ok_or(Status::InvalidMemoryAccess)
}

/// The bytes `at .. at + size`, to be written.
#[inline]
pub(crate) fn write(memory: &mut [u8], at: u32, size: u32) -> Result<&mut [u8], Status> {
    memory
        .get_mut(at as usize..)
        .and_then(|rest| rest.get_mut(..size as usize))
        .ok_or(Status::InvalidMemoryAccess)
}

pub(crate) fn read_u32(memory: &[u8], at: u32) -> Result<u32, Status> {
    let bytes = memory.get(at as usize..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(Status::InvalidMemoryAccess)
}

#[inline]
pub(crate) fn write_u32(memory: &mut [u8], at: u32, value: u32) -> Result<(), Status> {
    write(memory, at, 4)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

pub(crate) fn write_u64(memory: &mut [u8], at: u32, value: u64) -> Result<(), Status> {
    write(memory, at, 8)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

impl Place {
    /// Refuses before anything is allocated in the guest.
    #[inline]
    pub(crate) fn new(memory: &[u8], pointer_at: u32, size_at: u32) -> Result<Self, Status> {
        read(memory, pointer_at, 4)?;
        read(memory, size_at, 4)?;
        Ok(Self { pointer_at, size_at })
    }
}
