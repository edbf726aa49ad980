//! Where a breakpoint stands in a module: names, lines and pcs of a user into places of the code.

use wasmdbg_symbols::{BreakPlace, LookupError, ModulePc, Symbols};

use super::breakpoint::BreakpointSpec;
use crate::modules::{DebugInfo, Loaded};

/// The places of a breakpoint in a module, with a note for the user, or why there are none.
pub(super) fn places(
    spec: &BreakpointSpec,
    loaded: &Loaded,
) -> Result<(Vec<BreakPlace>, Option<String>), String> {
    let Some(symbols) = &loaded.symbols else {
        return Err(match &loaded.module.debug_info {
            DebugInfo::NamesOnly(why) => why.clone(),
            DebugInfo::Full => "the module has no symbols".into(),
        });
    };
    match spec {
        BreakpointSpec::Line { file, line, column } => {
            if let DebugInfo::NamesOnly(why) = &loaded.module.debug_info {
                return Err(why.clone());
            }
            let binding = symbols.break_line(file, *line, *column).map_err(|error| error.to_string())?;
            let note =
                binding.moved().then(|| format!("line {line} has no code: moved to line {}", binding.line));
            Ok((binding.places, note))
        }
        BreakpointSpec::Function(name) => {
            let binding = symbols.break_function(name).map_err(|error| error.to_string())?;
            Ok((binding.places, None))
        }
        BreakpointSpec::Code { module, .. } if *module != loaded.module.hash => {
            Err("no module of the session is that one".into())
        }
        BreakpointSpec::Pc(pc) | BreakpointSpec::Code { pc, .. } => Ok((vec![place_at(symbols, *pc)?], None)),
    }
}

/// The place at a pc, if there is code.
fn place_at(symbols: &Symbols, pc: ModulePc) -> Result<BreakPlace, String> {
    let function = symbols.module().function_at(pc);
    let function = function.ok_or_else(|| LookupError::NotCode(pc).to_string())?.index;
    let frame = symbols.frames(pc).into_iter().next();
    Ok(BreakPlace {
        pc,
        function,
        instance: frame.as_ref().and_then(|frame| frame.instance),
        name: frame.as_ref().map_or_else(|| symbols.function_name(function).full, |f| f.name.full.clone()),
        inlined: frame.as_ref().is_some_and(|frame| frame.inlined),
        position: frame.and_then(|frame| frame.position),
    })
}
