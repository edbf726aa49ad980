//! What the debug lane must know of a module's bytes: where its function bodies lie, and which sections
//! only cost memory. Reads no DWARF and executes nothing.
use wasmdbg_control::{ModulePc, PcRange};
use wasmparser::{BinaryReaderError, Parser, Payload, TypeRef};

/// The layout of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Function imports: they come first in the index space.
    pub(crate) imported_functions: u32,
    bodies: Vec<Body>,
}

/// A function's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    /// Offsets in the file of its local declarations and opcodes.
    pub(crate) range: PcRange,
    /// Offset of its first opcode.
    pub(crate) entry: ModulePc,
}

impl Layout {
    /// # Errors
    /// The bytes are no module.
    pub(crate) fn of(module: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut layout = Self { imported_functions: 0, bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if matches!(import?.ty, TypeRef::Func(_)) {
                            layout.imported_functions += 1;
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let entry = body.get_operators_reader()?.original_position();
                    let (range, entry) = (PcRange::of_bytes(body.range()), ModulePc::at(entry));
                    layout.bodies.push(Body { range, entry });
                }
                _ => {}
            }
        }
        Ok(layout)
    }

    /// The body that holds the offset `pc`.
    pub(crate) fn body_at(&self, pc: ModulePc) -> Option<&Body> {
        let after = self.bodies.partition_point(|body| body.range.start <= pc);
        self.bodies[..after].last().filter(|body| body.range.contains(pc))
    }
}

/// `module` without the custom sections behind its code: the compiled image holds a copy of the module,
/// and each slot a copy of the image. What comes earlier stays, so that no pc changes.
///
/// # Errors
/// The bytes are no module.
pub(crate) fn strip(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut kept = Vec::with_capacity(module.len());
    let mut code_seen = false;
    let mut begin = 0;
    let mut take = |end: usize, keep: bool| {
        if keep && let Some(bytes) = module.get(begin..end) {
            kept.extend_from_slice(bytes);
        }
        begin = end;
    };
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CodeSectionStart { range, .. } => {
                code_seen = true;
                take(range.end, true);
            }
            Payload::CustomSection(section) => take(section.range().end, !code_seen),
            Payload::End(end) => take(end, true),
            other => {
                if let Some((_, range)) = other.as_section() {
                    take(range.end, true);
                }
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Vec<u8> {
        wat::parse_str(
            r#"(module
                (@custom "early" (before code) "kept")
                (@custom "late" (after data) "a long text that only costs memory")
                (import "env" "f" (func (param i32)))
                (memory 1)
                (func $one (result i32) i32.const 1)
                (func $two (param i32) (call 0 (local.get 0)))
                (data (i32.const 0) "data")
            )"#,
        )
        .expect("a module")
    }

    #[test]
    fn bodies_are_found_by_any_offset_in_them() {
        let module = module();
        let layout = Layout::of(&module).expect("a layout");
        assert_eq!(layout.imported_functions, 1);
        assert_eq!(layout.bodies.len(), 2);
        for body in &layout.bodies {
            assert_eq!(layout.body_at(body.range.start), Some(body));
            assert_eq!(layout.body_at(body.range.end.before_return()), Some(body));
            // No locals are declared: one byte says so.
            assert_eq!(body.entry, body.range.start + 1);
        }
        assert_eq!(layout.body_at(ModulePc(0)), None);
        assert_eq!(layout.body_at(layout.bodies[1].range.end), None);
    }

    #[test]
    fn only_custom_sections_behind_the_code_go() {
        let module = module();
        let stripped = strip(&module).expect("a module");
        let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(has(&stripped, b"kept") && has(&stripped, b"data"));
        assert!(has(&module, b"costs memory") && !has(&stripped, b"costs memory"));
        assert_eq!(Layout::of(&stripped).expect("a layout"), Layout::of(&module).expect("a layout"));
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(Layout::of(b"not a module").is_err());
        assert!(strip(b"\0asm\x01\0\0\0\x0a\xff").is_err());
    }
}
