//! What a module imports and the host does not give it: functions of the ABI that are not there yet answer
//! UNIMPLEMENTED (12) and say so in the log, once per filter; those that a filter's capabilities forbid answer that.

use wasmtime::{Caller, ExternType, FuncType, ImportType, Linker, Val, ValType};

use super::table::{ENV, WASI};
use crate::embedder::{Level, Status};
use crate::filter::core::FilterCore;
use crate::vm::state::VmState;

/// The functions of Proxy-Wasm 0.1.0 to 0.2.1. Those that a topic defines are its own.
const FUNCTIONS: [&str; 43] = [
    "proxy_done",
    "proxy_set_effective_context",
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_set_buffer_bytes",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_header_map_size",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_get_status",
    "proxy_send_local_response",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_set_shared_data",
    "proxy_get_shared_data",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_define_metric",
    "proxy_record_metric",
    "proxy_increment_metric",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_call_foreign_function",
    // 0.1.0; SDKs for later versions still import some of them, with or without a result.
    "proxy_get_configuration",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
];

/// What a filter that may not call WASI gets (ENOTCAPABLE).
const NOT_CAPABLE: i32 = 76;

/// Says once that `what` is not there and what the filter gets.
pub(super) fn not_there(core: &FilterCore, what: &str, status: Status) -> Status {
    let text = format!("{what} are not implemented, the filter gets {}", name_of(status));
    core.log_once(Level::Warn, &text);
    status
}

fn name_of(status: Status) -> &'static str {
    match status {
        Status::NotFound => "NOT_FOUND",
        _ => "UNIMPLEMENTED",
    }
}

/// Defines `import` with the type the module gives it. False when it is no function of the ABI.
pub(super) fn define(linker: &mut Linker<VmState>, import: &ImportType<'_>) -> wasmtime::Result<bool> {
    let known = import.module() == ENV && FUNCTIONS.contains(&import.name());
    let ExternType::Func(ty) = import.ty() else { return Ok(false) };
    if !known {
        return Ok(false);
    }
    let status = Status::Unimplemented;
    let says = format!("{} is not implemented, the filter gets {}", import.name(), name_of(status));
    answer(linker, import, ty, status as i32, says)
}

/// Whether the filter's capabilities let it call `import`.
pub(super) fn is_allowed(core: &FilterCore, import: &ImportType<'_>) -> bool {
    let restricted = import.name().starts_with("proxy_") || WASI.contains(&import.module());
    match &core.config.capabilities {
        Some(names) if restricted => names.contains(import.name()),
        _ => true,
    }
}

/// Defines a forbidden `import`. False when it is no function.
pub(super) fn define_restricted(
    linker: &mut Linker<VmState>,
    import: &ImportType<'_>,
) -> wasmtime::Result<bool> {
    let ExternType::Func(ty) = import.ty() else { return Ok(false) };
    let wasi = WASI.contains(&import.module());
    let code = if wasi { NOT_CAPABLE } else { Status::InternalFailure as i32 };
    let says = format!("{} is not among the filter's allowed_capabilities", import.name());
    answer(linker, import, ty, code, says)
}

fn answer(
    linker: &mut Linker<VmState>,
    import: &ImportType<'_>,
    ty: FuncType,
    code: i32,
    says: String,
) -> wasmtime::Result<bool> {
    let types: Vec<ValType> = ty.results().collect();
    if types.iter().any(ValType::is_ref) {
        return Ok(false);
    }
    linker.func_new(import.module(), import.name(), ty, move |caller: Caller<'_, VmState>, _, results| {
        caller.data().core.log_once(Level::Warn, &says);
        for (result, ty) in results.iter_mut().zip(&types) {
            *result = match ty {
                ValType::I64 => Val::I64(i64::from(code)),
                ValType::F32 => Val::F32(0),
                ValType::F64 => Val::F64(0),
                _ => Val::I32(code),
            };
        }
        Ok(())
    })?;
    Ok(true)
}
