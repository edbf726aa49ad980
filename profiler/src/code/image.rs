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
    /// More than they can be.
    #[error("the names of its functions are longer than the compiled image")]
    Names,
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
        let mut functions = Vec::new();
        // Each name is in the image once: symbols that share a long one would take any memory.
        let mut room = bytes.len();
        for symbol in file.symbols().filter(in_text) {
            let name = symbol.name().map_err(|error| ImageError::Elf(error.to_string()))?;
            room = room.checked_sub(name.len()).ok_or(ImageError::Names)?;
            functions.extend(compiled(&symbol, name));
        }
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

    /// Bytes that it takes, about.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let names = self.functions.iter().filter_map(|function| function.name.as_ref());
        let functions = self.functions.len() * size_of::<CompiledFunction>();
        let places = self.address_map.as_ref().map_or(0, |map| size_of_val(map.entries()));
        let module = self.module.as_ref().map_or(0, |module| module.len());
        (self.code.len() + functions + names.map(String::len).sum::<usize>() + places + module) as u64
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
    name: &str,
) -> Option<CompiledFunction> {
    let start = u32::try_from(symbol.address()).ok()?;
    let end = start.checked_add(u32::try_from(symbol.size()).ok()?)?;
    let (kind, name) = read_symbol(name);
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

    /// An image with some code and so many functions of one name.
    fn image(functions: u64, name: &str) -> Vec<u8> {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let names = b"\0.text\0.symtab\0.strtab\0";
        let strings = [b"\0", name.as_bytes(), b"\0"].concat();
        // st_name 1, st_info STT_FUNC, st_shndx 1; st_value; st_size
        let symbols: Vec<u8> = (0..functions).flat_map(|at| words(&[1 | 2 << 32 | 1 << 48, at, 1])).collect();
        let symbols = [vec![0; 24], symbols].concat();
        let mut bytes = vec![0; HEADER];
        let mut sections = vec![0; 64];
        // sh_name and sh_type; sh_link; sh_entsize
        for (head, part, link, entry) in [
            (1 | 1 << 32, &[0x90; 64][..], 0_u64, 0),
            (7 | 2 << 32, &symbols, 3, 24),
            (15 | 3 << 32, &strings, 0, 0),
            (15 | 3 << 32, names, 0, 0),
        ] {
            let (offset, size) = (bytes.len() as u64, part.len() as u64);
            sections.extend(words(&[head, 0, 0, offset, size, link, 1, entry]));
            bytes.extend_from_slice(part);
        }
        let table = bytes.len() as u64;
        bytes.extend(sections);
        bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\xc8");
        bytes[16..24].copy_from_slice(&words(&[3 | 62 << 16 | 1 << 32]));
        bytes[40..48].copy_from_slice(&words(&[table]));
        // e_ehsize; e_shentsize, e_shnum, e_shstrndx
        bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
        bytes[58..64].copy_from_slice(&[64, 0, 5, 0, 4, 0]);
        bytes
    }

    #[test]
    fn names_of_functions_are_no_longer_than_the_image() {
        let parsed = Image::parse(&image(2, "wasm[0]::function[3]::half")).unwrap();
        let half = Some("half".to_owned());
        assert!(parsed.functions.len() == 2 && parsed.functions[1].name == half, "{:?}", parsed.functions);
        assert!(parsed.memory() >= 64 + 8);
        // Each of them is within the image, all of them would be a hundred times as long.
        assert!(Image::parse(&image(4, &"x".repeat(10_000))).is_err_and(|error| error == ImageError::Names));
    }
}
