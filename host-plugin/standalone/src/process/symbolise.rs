//! Source lines of traps, from the module's own debug info. Runs on the agent's thread alone.

use std::sync::Arc;

use wasmdbg_proxy_wasm::agent::Symbolise;
use wasmdbg_symbols::Symbols;

/// Says where a frame is: `is_prime (src/lib.rs:120:8)`, an inlined function before the one that holds it.
pub(crate) fn symbolise() -> Symbolise {
    let mut last: Option<(Arc<[u8]>, Option<Symbols>)> = None;
    Box::new(move |bytes, frame| {
        if last.as_ref().is_none_or(|(module, _)| !Arc::ptr_eq(module, bytes)) {
            last = Some((Arc::clone(bytes), Symbols::new(Arc::clone(bytes)).ok()));
        }
        let symbols = last.as_ref()?.1.as_ref()?;
        let places = symbols.frames(frame.pc?).into_iter().map(|source| match source.position {
            Some(position) => {
                format!("{} ({}:{}:{})", source.name.full, position.path, position.line, position.column)
            }
            None => source.name.full.to_string(),
        });
        let places: Vec<String> = places.collect();
        (!places.is_empty()).then(|| places.join(" in "))
    })
}
