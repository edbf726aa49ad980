//! Owns the reading of a module's sections into a [`Module`]. Never validates code and never looks inside custom sections.

use std::sync::Arc;

use wasmparser::{CompositeInnerType, DataKind, ExternalKind, Operator, Parser, Payload, TypeRef};

use super::names::Names;

use super::{CustomSection, Export, Function, Global, Import, ImportKind, Module, ValType};
use crate::error::ModuleError;
use wasmdbg_code_address::{CodeSection, ModulePc, PcRange};

impl Module {
    /// Splits a core module.
    ///
    /// # Errors
    /// When the bytes are no core module, are cut off or malformed.
    pub fn parse(bytes: Arc<[u8]>) -> Result<Module, ModuleError> {
        check_header(&bytes)?;
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(&bytes) {
            let payload = payload.map_err(|e| module_error(&e, bytes.len()))?;
            parts.take(payload).map_err(|e| module_error(&e, bytes.len()))?;
        }
        let mut module = parts.into_module();
        if let Some(section) = module.customs.iter().find(|s| s.name == "name") {
            // A broken name section costs the names, not the module: the spec says to ignore it.
            module.names = Names::parse(&bytes[section.range.clone()], section.range.start);
        }
        for (at, export) in module.exports.iter().enumerate() {
            if export.kind == "func" {
                module.export_of_function.entry(export.index).or_insert(at);
            }
        }
        module.bytes = bytes;
        Ok(module)
    }
}

fn check_header(bytes: &[u8]) -> Result<(), ModuleError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(ModuleError::TooLarge);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm);
    }
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Ok(()),
        Some([_, _, 1, 0]) => Err(ModuleError::Component),
        Some(version) => {
            Err(ModuleError::Version(u32::from_le_bytes([version[0], version[1], version[2], version[3]])))
        }
        None => Err(ModuleError::Truncated { at: bytes.len(), len: bytes.len() }),
    }
}

fn module_error(error: &wasmparser::BinaryReaderError, len: usize) -> ModuleError {
    let reason = error.message().to_owned();
    // The reader says "unexpected end" for a cut file and for a section whose fields overrun it.
    if reason.contains("unexpected end") {
        ModuleError::Truncated { at: error.offset(), len }
    } else {
        ModuleError::Malformed { at: error.offset(), reason }
    }
}

/// Collects what the sections say; function types are joined with bodies as these arrive.
#[derive(Default)]
struct Parts {
    module: Module,
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    type_of_function: Vec<u32>,
}

impl Parts {
    fn into_module(self) -> Module {
        self.module
    }

    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group?.types() {
                        self.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(f) => (
                                f.params().iter().map(|t| ValType::from(*t)).collect(),
                                f.results().iter().map(|t| ValType::from(*t)).collect(),
                            ),
                            _ => (Vec::new(), Vec::new()),
                        });
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.import(&import?);
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.type_of_function.push(ty?);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let ty = global?.ty;
                    self.module.globals.push(Global {
                        ty: ty.content_type.into(),
                        mutable: ty.mutable,
                        imported: false,
                    });
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    self.module.exports.push(Export {
                        name: export.name.to_owned(),
                        kind: export_kind(export.kind),
                        index: export.index,
                    });
                }
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    self.data(&segment?);
                }
            }
            // The range starts at the function count: these are the section's contents.
            Payload::CodeSectionStart { range, .. } => {
                self.module.code = CodeSection { start: ModulePc::at(range.start), len: range.len() as u32 };
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::CustomSection(section) => {
                let range = section.data_offset()..section.data_offset() + section.data().len();
                self.module.customs.push(CustomSection { name: section.name().to_owned(), range });
            }
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, segment: &wasmparser::Data<'_>) {
        let DataKind::Active { memory_index: 0, offset_expr } = &segment.kind else { return };
        let mut operators = offset_expr.get_operators_reader();
        let Ok(Operator::I32Const { value }) = operators.read() else { return };
        if matches!(operators.read(), Ok(Operator::End)) {
            let end = segment.range.end;
            self.module.data.push((value.cast_unsigned(), end - segment.data.len()..end));
        }
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) {
        let kind = match import.ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                self.module.imported_functions += 1;
                ImportKind::Function(self.module.imported_functions - 1)
            }
            TypeRef::Global(ty) => {
                self.module.globals.push(Global {
                    ty: ty.content_type.into(),
                    mutable: ty.mutable,
                    imported: true,
                });
                ImportKind::Global(self.module.globals.len() as u32 - 1)
            }
            TypeRef::Memory(_) => ImportKind::Memory,
            TypeRef::Table(_) => ImportKind::Table,
            TypeRef::Tag(_) => ImportKind::Tag,
        };
        self.module.imports.push(Import {
            module: import.module.to_owned(),
            name: import.name.to_owned(),
            kind,
        });
    }

    fn body(&mut self, body: &wasmparser::FunctionBody<'_>) -> wasmparser::Result<()> {
        let defined = self.module.functions.len();
        let (params, results) = self
            .type_of_function
            .get(defined)
            .and_then(|ty| self.types.get(*ty as usize))
            .cloned()
            .unwrap_or_default();
        let mut local_runs = Vec::new();
        for run in body.get_locals_reader()? {
            let (count, ty) = run?;
            local_runs.push((count, ValType::from(ty)));
        }
        let range = body.range();
        self.module.functions.push(Function {
            index: self.module.imported_functions + defined as u32,
            body: PcRange::of_bytes(range),
            first_instruction: ModulePc(body.get_binary_reader_for_operators()?.original_position() as u32),
            params,
            results,
            local_runs,
        });
        Ok(())
    }
}

fn export_kind(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "func",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}
