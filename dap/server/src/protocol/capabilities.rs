//! What the adapter can do. A capability is here only if a test uses it.

use serde::Serialize;

/// `Capabilities`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, missing_docs)]
pub struct Capabilities {
    pub supports_configuration_done_request: bool,
    pub supports_function_breakpoints: bool,
    pub supports_conditional_breakpoints: bool,
    pub supports_hit_conditional_breakpoints: bool,
    pub supports_log_points: bool,
    pub supports_instruction_breakpoints: bool,
    pub supports_breakpoint_locations_request: bool,
    pub exception_breakpoint_filters: Vec<ExceptionBreakpointsFilter>,
    pub supports_exception_filter_options: bool,
    pub supports_exception_info_request: bool,
    pub supports_evaluate_for_hovers: bool,
    pub supports_clipboard_context: bool,
    pub supports_completions_request: bool,
    pub completion_trigger_characters: Vec<&'static str>,
    pub supports_set_variable: bool,
    pub supports_set_expression: bool,
    pub supports_value_formatting_options: bool,
    pub supports_delayed_stack_trace_loading: bool,
    pub supports_loaded_sources_request: bool,
    pub supports_modules_request: bool,
    pub supports_stepping_granularity: bool,
    pub supports_single_thread_execution_requests: bool,
    pub supports_read_memory_request: bool,
    pub supports_write_memory_request: bool,
    pub supports_disassemble_request: bool,
    pub supports_cancel_request: bool,
    pub supports_restart_request: bool,
    pub supports_terminate_request: bool,
}

/// `ExceptionBreakpointsFilter`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionBreakpointsFilter {
    /// Named in `setExceptionBreakpoints`.
    pub filter: &'static str,
    /// For a person.
    pub label: &'static str,
    /// For a person, longer.
    pub description: &'static str,
    /// On unless the user says otherwise.
    pub default: bool,
    /// A condition can be given.
    pub supports_condition: bool,
    /// What the condition is.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub condition_description: &'static str,
}

/// The filter for traps.
pub const TRAP: &str = "trap";

/// The filter for panics and aborts.
pub const PANIC: &str = "panic";

/// The filter for responses of the filter's own.
pub const LOCAL_RESPONSE: &str = "local_response";

/// All that works.
#[must_use]
pub fn capabilities() -> Capabilities {
    Capabilities {
        supports_configuration_done_request: true,
        supports_function_breakpoints: true,
        supports_conditional_breakpoints: true,
        supports_hit_conditional_breakpoints: true,
        supports_log_points: true,
        supports_instruction_breakpoints: true,
        supports_breakpoint_locations_request: true,
        exception_breakpoint_filters: vec![
            ExceptionBreakpointsFilter {
                filter: TRAP,
                label: "Traps",
                description: "Stop where the filter is about to die: a panic, an abort, an access outside its memory",
                default: true,
                supports_condition: true,
                condition_description: "a part of the trap's name, as in: unreachable",
            },
            ExceptionBreakpointsFilter {
                filter: PANIC,
                label: "Panics and aborts",
                description: "Stop where the filter gives itself up; its last words are shown",
                default: false,
                supports_condition: false,
                condition_description: "",
            },
            ExceptionBreakpointsFilter {
                filter: LOCAL_RESPONSE,
                label: "Local responses",
                description: "Stop where the filter answers a request itself",
                default: false,
                supports_condition: true,
                condition_description: "an expression, as in: $path == \"/login\"",
            },
        ],
        supports_exception_filter_options: true,
        supports_exception_info_request: true,
        supports_evaluate_for_hovers: true,
        supports_clipboard_context: true,
        supports_completions_request: true,
        completion_trigger_characters: vec!["."],
        supports_set_variable: true,
        supports_set_expression: true,
        supports_value_formatting_options: true,
        supports_delayed_stack_trace_loading: true,
        supports_loaded_sources_request: true,
        supports_modules_request: true,
        supports_stepping_granularity: true,
        supports_single_thread_execution_requests: true,
        supports_read_memory_request: true,
        supports_write_memory_request: true,
        supports_disassemble_request: true,
        supports_cancel_request: true,
        supports_restart_request: true,
        supports_terminate_request: true,
    }
}
