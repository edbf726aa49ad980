//! What gdbstub asks for, in terms of the control protocol.

use std::collections::BTreeMap;

use gdbstub::arch::lldb::{Encoding, Format, Generic, Register};
use gdbstub::common::{Endianness, Pid, Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{SingleRegisterAccess, SingleRegisterAccessOps};
use gdbstub::target::ext::breakpoints::{Breakpoints, BreakpointsOps, SwBreakpoint, SwBreakpointOps};
use gdbstub::target::ext::host_info::{HostInfo, HostInfoOps, HostInfoResponse};
use gdbstub::target::ext::libraries::{Libraries, LibrariesOps};
use gdbstub::target::ext::lldb_register_info_override::{
    Callback, CallbackToken, LldbRegisterInfoOverride, LldbRegisterInfoOverrideOps,
};
use gdbstub::target::ext::process_info::{ProcessInfo, ProcessInfoOps, ProcessInfoResponse};
use gdbstub::target::ext::wasm::{Wasm, WasmOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::wasm::Wasm as WasmArch;
use gdbstub_arch::wasm::reg::WasmRegisters;
use gdbstub_arch::wasm::reg::id::WasmRegId;
use wasmdbg_control::breakpoints::{Breakpoint, Planted, SetBreakpoints};
use wasmdbg_control::client::CallError;
use wasmdbg_control::state::{ReadMemory, Value, WriteMemory};
use wasmdbg_control::stop::{Frame, Resume, ResumeMode};
use wasmdbg_control::{Client, ModulePc, SlotId};

use crate::attach::Module;
use crate::space::{self, Place};
use crate::threads::Threads;

/// What LLDB takes the machine for.
const TRIPLE: &str = "wasm32-unknown-unknown-wasm";
/// Bytes of memory in one request.
const MOST_BYTES: usize = 512 << 10;

/// How LLDB wants it to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Going {
    Continue,
    Step,
}

/// The filters of a session.
pub(crate) struct Filters {
    pub(crate) client: Client,
    pub(crate) modules: Vec<Module>,
    pub(crate) threads: Threads,
    /// Per module: where LLDB wants breakpoints, with the numbers that the proxy knows them by.
    breakpoints: BTreeMap<usize, BTreeMap<ModulePc, u32>>,
    last_breakpoint: u32,
    pub(crate) going: Going,
    /// The slot that steps.
    pub(crate) stepping: Option<SlotId>,
}

impl Filters {
    pub(crate) fn new(client: Client, modules: Vec<Module>) -> Self {
        Self {
            client,
            modules,
            threads: Threads::default(),
            breakpoints: BTreeMap::new(),
            last_breakpoint: 0,
            going: Going::Continue,
            stepping: None,
        }
    }

    /// The address of the innermost frame; 0 while nothing stands.
    pub(crate) fn pc(&self) -> u64 {
        self.threads
            .current
            .as_ref()
            .and_then(|standing| standing.frames.first())
            .map_or(0, |frame| self.address(frame))
    }

    fn address(&self, frame: &Frame) -> u64 {
        let module = self.threads.current.as_ref().map(|standing| standing.stopped.module);
        let index = self.modules.iter().position(|known| Some(known.hash) == module);
        index.map_or(0, |index| space::code(index, frame.pc))
    }

    fn frame(&self, depth: usize) -> Option<&Frame> {
        self.threads.current.as_ref()?.frames.get(depth)
    }

    /// LLDB has gone: no breakpoint stays, and what stood goes on.
    pub(crate) fn let_go(&mut self) {
        for module in std::mem::take(&mut self.breakpoints).into_keys() {
            let module = self.modules[module].hash;
            // The proxy may be gone as well.
            let _ = self.client.call(SetBreakpoints { module, breakpoints: Vec::new() });
        }
        for stop in self.threads.drain() {
            let _ = self.client.call(Resume { stop, mode: ResumeMode::Continue });
        }
        self.stepping = None;
    }

    /// Whether the breakpoint at `pc` stands, if one is wanted there.
    fn plant(&self, module: usize, pc: ModulePc) -> Result<bool, CallError> {
        let wanted = self.breakpoints.get(&module);
        let breakpoints = wanted.into_iter().flatten().map(|(pc, id)| Breakpoint { id: *id, pc: *pc });
        let request =
            SetBreakpoints { module: self.modules[module].hash, breakpoints: breakpoints.collect() };
        let planted = self.client.call(request)?.breakpoints;
        let id = wanted.and_then(|wanted| wanted.get(&pc));
        // One that moved would be hit at another address than LLDB knows.
        Ok(id.is_none_or(|id| {
            planted
                .iter()
                .any(|one| matches!(one, Planted::Bound { id: other, pc: at } if other == id && *at == pc))
        }))
    }
}

type Refused = TargetError<CallError>;

/// What the proxy refuses is LLDB's business, a lost connection the end.
fn refused(error: CallError) -> Refused {
    match error {
        CallError::Connection(_) => TargetError::Fatal(error),
        _ => TargetError::NonFatal,
    }
}

impl Target for Filters {
    type Arch = WasmArch;
    type Error = CallError;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }

    fn support_wasm(&mut self) -> Option<WasmOps<'_, Self>> {
        Some(self)
    }

    fn use_lldb_register_info(&self) -> bool {
        true
    }

    fn support_lldb_register_info_override(&mut self) -> Option<LldbRegisterInfoOverrideOps<'_, Self>> {
        Some(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_libraries(&mut self) -> Option<LibrariesOps<'_, Self>> {
        Some(self)
    }

    fn support_process_info(&mut self) -> Option<ProcessInfoOps<'_, Self>> {
        Some(self)
    }

    fn support_host_info(&mut self) -> Option<HostInfoOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Filters {
    fn read_registers(&mut self, registers: &mut WasmRegisters, _: Tid) -> TargetResult<(), Self> {
        registers.pc = self.pc();
        Ok(())
    }

    fn write_registers(&mut self, _: &WasmRegisters, _: Tid) -> TargetResult<(), Self> {
        // The engine cannot move a pc.
        Err(TargetError::NonFatal)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        let bytes = match space::place(start) {
            Some(Place::Code { module, pc }) => {
                let module = self.modules.get(module).ok_or(TargetError::NonFatal)?;
                let rest = module.bytes.get(pc.0 as usize..).ok_or(TargetError::NonFatal)?;
                rest[..rest.len().min(data.len())].to_vec()
            }
            Some(Place::Memory { memory, address }) => {
                let standing = self.threads.current.as_ref().ok_or(TargetError::NonFatal)?;
                let length = data.len().min(MOST_BYTES) as u32;
                let stop = standing.stopped.stop;
                let request = ReadMemory { stop, memory, address: u64::from(address), length };
                self.client.call(request).map_err(refused)?.data
            }
            None => return Err(TargetError::NonFatal),
        };
        if bytes.is_empty() {
            return Err(TargetError::NonFatal);
        }
        data[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], _: Tid) -> TargetResult<(), Self> {
        let (Some(Place::Memory { memory, address }), Some(standing)) =
            (space::place(start), &self.threads.current)
        else {
            return Err(TargetError::NonFatal);
        };
        let (stop, address) = (standing.stopped.stop, u64::from(address));
        self.client.call(WriteMemory { stop, memory, address, data: data.to_vec() }).map_err(refused)?;
        Ok(())
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(Tid)) -> Result<(), Self::Error> {
        each(self.threads.tid());
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Filters {
    fn read_register(&mut self, _: Tid, register: WasmRegId, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        let (WasmRegId::Pc, Some(place)) = (register, buffer.first_chunk_mut::<8>()) else {
            return Err(TargetError::NonFatal);
        };
        *place = self.pc().to_le_bytes();
        Ok(place.len())
    }

    fn write_register(&mut self, _: Tid, _: WasmRegId, _: &[u8]) -> TargetResult<(), Self> {
        Err(TargetError::NonFatal)
    }
}

impl MultiThreadResume for Filters {
    fn resume(&mut self) -> Result<(), Self::Error> {
        self.stepping = None;
        let Some(standing) = self.threads.current.take() else { return Ok(()) };
        let mode = match self.going {
            Going::Continue => ResumeMode::Continue,
            Going::Step => {
                self.stepping = Some(standing.stopped.slot);
                ResumeMode::Instruction
            }
        };
        match self.client.call(Resume { stop: standing.stopped.stop, mode }) {
            Ok(_) => Ok(()),
            Err(error @ CallError::Connection(_)) => Err(error),
            // It has gone on by itself: there is no step to wait for.
            Err(_) => {
                self.stepping = None;
                Ok(())
            }
        }
    }

    fn clear_resume_actions(&mut self) -> Result<(), Self::Error> {
        self.going = Going::Continue;
        Ok(())
    }

    fn set_resume_action_continue(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSchedulerLocking for Filters {
    /// LLDB sees one thread: there is nothing to be locked.
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl MultiThreadSingleStep for Filters {
    fn set_resume_action_step(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Self::Error> {
        self.going = Going::Step;
        Ok(())
    }
}

impl Breakpoints for Filters {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Filters {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        let Some(Place::Code { module, pc }) = space::place(address) else { return Ok(false) };
        if module >= self.modules.len() {
            return Ok(false);
        }
        self.last_breakpoint += 1;
        self.breakpoints.entry(module).or_default().insert(pc, self.last_breakpoint);
        let planted = self.plant(module, pc).map_err(refused);
        if !matches!(planted, Ok(true)) {
            self.breakpoints.entry(module).or_default().remove(&pc);
        }
        if matches!(planted, Ok(false)) {
            self.plant(module, pc).map_err(refused)?;
        }
        planted
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        let Some(Place::Code { module, pc }) = space::place(address) else { return Ok(false) };
        if self.breakpoints.get_mut(&module).and_then(|wanted| wanted.remove(&pc)).is_none() {
            return Ok(false);
        }
        self.plant(module, pc).map_err(refused)
    }
}

impl LldbRegisterInfoOverride for Filters {
    fn lldb_register_info<'a>(
        &mut self,
        register: usize,
        info: Callback<'a>,
    ) -> Result<CallbackToken<'a>, Self::Error> {
        Ok(match register {
            0 => info.write(Register {
                name: "pc",
                alt_name: Some("pc"),
                bitsize: 64,
                offset: 0,
                encoding: Encoding::Uint,
                format: Format::Hex,
                set: "PC",
                gcc: Some(16),
                dwarf: Some(16),
                generic: Some(Generic::Pc),
                container_regs: None,
                invalidate_regs: None,
            }),
            _ => info.done(),
        })
    }
}

impl Libraries for Filters {
    fn get_libraries(&self, offset: u64, length: usize, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        let text = space::libraries(&self.modules);
        let rest =
            usize::try_from(offset).ok().and_then(|offset| text.as_bytes().get(offset..)).unwrap_or(&[]);
        let count = rest.len().min(length).min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Wasm for Filters {
    fn wasm_call_stack(&self, _: Tid, each: &mut dyn FnMut(u64)) -> Result<(), Self::Error> {
        // Frames of callers have the address behind the call, as LLDB has it too.
        for frame in self.threads.current.iter().flat_map(|standing| &standing.frames) {
            each(self.address(frame));
        }
        Ok(())
    }

    fn read_wasm_local(
        &self,
        _: Tid,
        frame: usize,
        local: usize,
        buffer: &mut [u8],
    ) -> Result<usize, Self::Error> {
        Ok(write_value(self.frame(frame).and_then(|frame| frame.locals.get(local)), buffer))
    }

    /// `index` counts from the bottom, as DWARF's does (`DW_OP_WASM_location 2`): LLDB passes it on as it
    /// is.
    fn read_wasm_stack(
        &self,
        _: Tid,
        frame: usize,
        index: usize,
        buffer: &mut [u8],
    ) -> Result<usize, Self::Error> {
        Ok(write_value(self.frame(frame).and_then(|frame| frame.operands.get(index)), buffer))
    }

    fn read_wasm_global(
        &self,
        _: Tid,
        _: usize,
        global: usize,
        buffer: &mut [u8],
    ) -> Result<usize, Self::Error> {
        let value = self.threads.current.as_ref().and_then(|standing| standing.global(&self.client, global));
        Ok(write_value(value.as_ref(), buffer))
    }
}

/// The bytes of a value; none for what is no number.
fn write_value(value: Option<&Value>, buffer: &mut [u8]) -> usize {
    let bytes = match value {
        Some(Value::I32(value)) => value.to_le_bytes().to_vec(),
        Some(Value::I64(value)) => value.to_le_bytes().to_vec(),
        Some(Value::F32(bits)) => bits.to_le_bytes().to_vec(),
        Some(Value::F64(bits)) => bits.to_le_bytes().to_vec(),
        Some(Value::V128(hex)) => {
            u128::from_str_radix(hex, 16).map_or_else(|_| Vec::new(), |bits| bits.to_le_bytes().to_vec())
        }
        Some(Value::Ref(_) | Value::Unknown) | None => Vec::new(),
    };
    match buffer.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(&bytes);
            bytes.len()
        }
        None => 0,
    }
}

impl HostInfo for Filters {
    fn host_info(&self, write: &mut dyn FnMut(&HostInfoResponse<'_>)) -> Result<(), Self::Error> {
        write(&HostInfoResponse::Triple(TRIPLE));
        write(&HostInfoResponse::Endianness(Endianness::Little));
        write(&HostInfoResponse::PointerSize(4));
        Ok(())
    }
}

impl ProcessInfo for Filters {
    fn process_info(&self, write: &mut dyn FnMut(&ProcessInfoResponse<'_>)) -> Result<(), Self::Error> {
        write(&ProcessInfoResponse::Pid(Pid::MIN));
        write(&ProcessInfoResponse::Triple(TRIPLE));
        write(&ProcessInfoResponse::Endianness(Endianness::Little));
        write(&ProcessInfoResponse::PointerSize(4));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_own_length() {
        let mut buffer = [0; 16];
        assert_eq!(write_value(Some(&Value::I32(-2)), &mut buffer), 4);
        assert_eq!(buffer[..4], [0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(write_value(Some(&Value::F64(1)), &mut buffer), 8);
        assert_eq!(write_value(Some(&Value::V128("10".into())), &mut buffer), 16);
        assert_eq!(buffer[0], 0x10);
        assert_eq!(write_value(Some(&Value::Unknown), &mut buffer), 0);
        assert_eq!(write_value(None, &mut buffer), 0);
    }
}
