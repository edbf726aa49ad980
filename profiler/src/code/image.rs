//! The compiled image of a module as it lies in memory: an ELF file that wasmtime makes and keeps mapped.
//! Reads sections of bytes; does not know where they came from.

use std::ops::Range;
use std::sync::Arc;

use object::elf::FileHeader64;
use object::read::elf::{ElfFile, FileHeader as _};
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _};

use super::address_map::{AddressMap, AddressMapError};

/// EI_OSABI of wasmtime's images.
pub const OS_ABI: u8 = 200;

/// Bytes of the header that [`is_image`] and [`size_from_header`] need.
pub const HEADER: usize = 64;

/// Why bytes are no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not ELF, or damaged.
    #[error("the compiled image cannot be read: {0}")]
    Elf(String),
    /// Without code.
    #[error("the compiled image has no {0}")]
    Missing(&'static str),
}

/// Compiled code of one module.
#[derive(Debug)]
pub struct Image {
    /// Where the text lies in the image.
    pub text: Range<u64>,
    /// The text itself: prologues are told by it.
    pub code: Arc<[u8]>,
    /// wasmtime's version, if the image names one.
    pub version: Option<String>,
    /// By rising offset in the text; without gaps known, with gaps allowed.
    pub functions: Vec<CompiledFunction>,
    /// Places in the module, or why there are none.
    pub address_map: Result<AddressMap, AddressMapError>,
    /// The module itself, which code for a debugger carries.
    pub module: Option<Arc<[u8]>>,
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledFunction {
    /// Offsets in the text.
    pub range: Range<u32>,
    /// What it is.
    pub kind: CodeKind,
    /// The function's name, or the trampoline's symbol.
    pub name: Option<String>,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeKind {
    /// A function of the module, by its index, imported ones counted.
    Function(u32),
    /// The way in, out, or to wasmtime's own functions.
    Trampoline,
}

/// Whether an image begins here.
#[must_use]
pub fn is_image(header: &[u8]) -> bool {
    header.starts_with(b"\x7fELF\x02\x01") && header.get(7) == Some(&OS_ABI)
}

/// Bytes from the start of the image to the end of its section table, which lies last.
#[must_use]
pub fn size_from_header(header: &[u8]) -> Option<u64> {
    let header = FileHeader64::<LittleEndian>::parse(header).ok()?;
    let count = u64::from(header.e_shnum.get(LittleEndian));
    let entry = u64::from(header.e_shentsize.get(LittleEndian));
    header.e_shoff.get(LittleEndian).checked_add(count * entry)
}

impl Image {
    /// Reads a whole image.
    ///
    /// # Errors
    /// See [`ImageError`]. An address map that cannot be read is no error.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let file = ElfFile::<FileHeader64<LittleEndian>>::parse(bytes)
            .map_err(|error| ImageError::Elf(error.to_string()))?;
        let section = |name: &str| file.section_by_name(name);
        let data = |name: &str| section(name).and_then(|section| section.data().ok());
        let text = section(".text").ok_or(ImageError::Missing("code"))?;
        let (start, length) = text.file_range().ok_or(ImageError::Missing("code"))?;
        let code = text.data().map_err(|error| ImageError::Elf(error.to_string()))?;
        let version = data(".wasmtime.engine").and_then(engine_version);
        let address_map = match data(".wasmtime.addrmap") {
            Some(map) => AddressMap::decode(map, version.as_deref().unwrap_or("of an unknown version")),
            None => Ok(AddressMap::default()),
        };
        let in_text = |symbol: &object::read::elf::ElfSymbol<'_, '_, FileHeader64<LittleEndian>>| {
            symbol.section_index() == Some(text.index()) && symbol.size() > 0
        };
        let mut functions: Vec<_> =
            file.symbols().filter(in_text).filter_map(|symbol| compiled(&symbol)).collect();
        functions.sort_by_key(|function| function.range.start);
        Ok(Self {
            text: start..start + length,
            code: code.into(),
            version,
            functions,
            address_map,
            module: data(".wasmtime.wasm_bytecode").filter(|m| m.starts_with(b"\0asm")).map(Arc::from),
        })
    }

    /// The piece of text at an offset.
    #[must_use]
    pub fn function_at(&self, offset: u32) -> Option<&CompiledFunction> {
        function_at(&self.functions, offset)
    }
}

/// The piece among `functions`, sorted by their starts, that holds `offset`.
#[must_use]
pub fn function_at(functions: &[CompiledFunction], offset: u32) -> Option<&CompiledFunction> {
    let end = functions.partition_point(|function| function.range.start <= offset);
    functions[..end].last().filter(|function| function.range.contains(&offset))
}

fn compiled(
    symbol: &object::read::elf::ElfSymbol<'_, '_, FileHeader64<LittleEndian>>,
) -> Option<CompiledFunction> {
    let start = u32::try_from(symbol.address()).ok()?;
    let end = start.checked_add(u32::try_from(symbol.size()).ok()?)?;
    let (kind, name) = read_symbol(symbol.name().ok()?);
    Some(CompiledFunction { range: start..end, kind, name })
}

/// `wasm[0]::function[3]::name` is the function with index 3, imported ones counted.
pub(super) fn read_symbol(symbol: &str) -> (CodeKind, Option<String>) {
    let function = || {
        let rest = symbol.strip_prefix("wasm[")?.split_once("]::function[")?.1;
        let (index, rest) = rest.split_once(']')?;
        let name = rest.strip_prefix("::").filter(|name| !name.is_empty()).map(str::to_owned);
        Some((CodeKind::Function(index.parse().ok()?), name))
    };
    function().unwrap_or_else(|| (CodeKind::Trampoline, Some(symbol.to_owned())))
}

/// The section: a format byte, the length of the version's text, the text, and more.
fn engine_version(section: &[u8]) -> Option<String> {
    let length = usize::from(*section.get(1)?);
    let text = std::str::from_utf8(section.get(2..2 + length)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_functions_and_trampolines() {
        assert_eq!(
            read_symbol("wasm[0]::function[12]::is_prime"),
            (CodeKind::Function(12), Some("is_prime".into()))
        );
        assert_eq!(read_symbol("wasm[0]::function[3]"), (CodeKind::Function(3), None));
        let trampoline = "wasm[0]::array_to_wasm_trampoline[5]";
        assert_eq!(read_symbol(trampoline), (CodeKind::Trampoline, Some(trampoline.into())));
    }

    #[test]
    fn the_engine_names_its_version() {
        assert_eq!(engine_version(b"\x00\x0648.0.8rest"), Some("48.0.8".into()));
        assert_eq!(engine_version(b"\x00\x09short"), None);
        assert_eq!(engine_version(b""), None);
    }

    #[test]
    fn other_bytes_are_no_image() {
        assert!(!is_image(b"\x7fELF\x02\x01\x01\x00"));
        assert!(is_image(b"\x7fELF\x02\x01\x01\xc8"));
        assert!(Image::parse(b"\x7fELF").is_err());
        assert_eq!(size_from_header(&[0; 64]), None);
    }
}
