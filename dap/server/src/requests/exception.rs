//! Why a request is stopped at a trap, or where the filter answers it itself.

use wasmdbg_control::state::Value;
use wasmdbg_control::stop::{Context, StopReason};
use wasmdbg_session::{End, Frame, Session, Stop};

use crate::protocol::{Answer, Body, ExceptionDetails, ExceptionInfoBody, ThreadArguments};
use crate::view::breakpoints::Breakpoints;
use crate::view::last_lines::LastLines;
use crate::view::threads::Threads;

pub(crate) fn info(
    session: &Session,
    threads: &Threads,
    breakpoints: &Breakpoints,
    last_lines: &LastLines,
    arguments: &ThreadArguments,
) -> Answer {
    let stop = threads.stop_of(session, arguments.thread_id)?;
    let responds = stop
        .breakpoints()
        .iter()
        .filter_map(|number| breakpoints.of_number(*number))
        .any(|(_, reason)| reason == "exception");
    let StopReason::Trap { message } = stop.reason() else {
        if responds {
            return Ok(Some(Body::from(ExceptionInfoBody {
                exception_id: "local response".into(),
                description: format!(
                    "{} is about to answer the request itself{}",
                    stop.info().callback,
                    local_response(&stop)
                ),
                break_mode: "always",
                details: ExceptionDetails {
                    message: None,
                    type_name: "local response".into(),
                    stack_trace: stack_trace(&stop)?,
                },
            })));
        }
        return Err("this request is stopped neither by a trap nor at a local response".into());
    };
    let info = stop.info();
    let transaction = match &info.context {
        Context::Stream { transaction, .. } => Some(*transaction),
        Context::Root { .. } => None,
    };
    let logged = last_lines.of(info.filter, transaction);
    let said = logged.as_ref().map_or_else(String::new, |text| format!("; the filter logged last: {text}"));
    let end = stop.end().unwrap_or(End::Trap);
    let (exception_id, what) = match end {
        End::Panic => (end.name().to_owned(), "a panic".to_owned()),
        End::Abort => (end.name().to_owned(), "an abort".to_owned()),
        End::Trap => (message.clone(), format!("a trap: {message}")),
    };
    Ok(Some(Body::from(ExceptionInfoBody {
        exception_id,
        description: format!("{} is about to end with {what}{said}", info.callback),
        break_mode: "always",
        details: ExceptionDetails {
            message: logged,
            type_name: end.name().into(),
            stack_trace: stack_trace(&stop)?,
        },
    })))
}

/// Frames as lines.
fn stack_trace(stop: &Stop) -> Result<String, String> {
    let frames = stop.frames(0, 50).map_err(|error| error.to_string())?;
    let line = |frame: &Frame| match &frame.position {
        Some(position) => format!("{} ({position})", frame.function),
        None => frame.function.clone(),
    };
    Ok(frames.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// `: 403, body "…"`, of a call of `proxy_send_local_response` that is about to happen: its arguments lie on
/// the operand stack (status; address and size of the details, the body and the headers; gRPC status).
pub(crate) fn local_response(stop: &Stop) -> String {
    const ARGUMENTS: usize = 8;
    const BODY: u32 = 200;
    let number = |value: &Value| match value {
        Value::I32(value) => Some(value.cast_unsigned()),
        _ => None,
    };
    let operands = stop.info().frames.first().map(|frame| frame.operands.as_slice()).unwrap_or_default();
    let arguments: Vec<_> =
        operands.iter().skip(operands.len().saturating_sub(ARGUMENTS)).filter_map(number).collect();
    let [status, _, _, body, size, ..] = arguments.as_slice() else { return String::new() };
    let mut text = format!(": {status}");
    if *size > 0
        && let Ok(bytes) = stop.read_memory(u64::from(*body), (*size).min(BODY))
    {
        text.push_str(&format!(", body {:?}", String::from_utf8_lossy(&bytes)));
    }
    text
}
