//! Owns source maps (ECMA-426, version 3) as compilers write them for Wasm, AssemblyScript first of all: the
//! generated "line" is the one line that a module is, and the column is a byte offset in the `.wasm` file.
//! Never fetches anything: the bytes come from a `data:` URL in the module or from the caller.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use wasmparser::Operator;

use crate::error::{DebugFileError, DebugInfoError};
use crate::functions::tree::{FunctionTree, NONE};
use crate::language::Language;
use crate::lines::paths::{fold, join};
use crate::lines::table::{LineTable, Row};
use crate::module::{Function, Module};
use crate::without_dwarf::line_info::LineInfo;
use wasmdbg_code_address::ModulePc;

/// A decoded source map.
#[derive(Debug)]
pub(crate) struct SourceMap {
    language: Language,
    /// Paths, `sourceRoot` in front; empty for a source without a name.
    sources: Vec<Arc<str>>,
    texts: HashMap<Arc<str>, Arc<str>>,
    /// By rising pc.
    segments: Vec<Segment>,
}

/// The code from `pc` to the next segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    pc: ModulePc,
    /// Source, line and column, from 1; `None` for code that no source has.
    place: Option<(u32, u32, u32)>,
}

/// The map is of another module: it names a pc where this one has no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) ModulePc);

impl From<Misfit> for DebugInfoError {
    fn from(misfit: Misfit) -> DebugInfoError {
        let reason = DebugFileError::OtherMap(misfit.0).to_string();
        DebugInfoError { section: "sourceMappingURL", offset: 0, reason }
    }
}

/// The JSON of a map. What debuggers do not use (`names`, `file`, extensions) is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    version: u32,
    source_root: Option<String>,
    #[serde(default)]
    sources: Vec<Option<String>>,
    sources_content: Option<Vec<Option<String>>>,
    #[serde(default)]
    mappings: String,
    sections: Option<serde::de::IgnoredAny>,
}

const MAP: &str = "source map";
const MAPPINGS: &str = "the mappings of the source map";

impl SourceMap {
    /// Whether a file is meant to be a source map, and not a module.
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        bytes.trim_ascii_start().starts_with(b"{")
    }

    /// The map that a module carries itself, in a `data:` URL; `None` when it does not.
    pub(crate) fn inside(module: &Module) -> Option<Result<SourceMap, DebugInfoError>> {
        let url = module.source_mapping_url()?;
        let data = url.strip_prefix("data:")?;
        let bytes = data_of(data).map_err(|reason| DebugInfoError {
            section: "sourceMappingURL",
            offset: 0,
            reason: reason.into(),
        });
        Some(bytes.and_then(|bytes| SourceMap::parse(&bytes)))
    }

    /// Reads a map.
    ///
    /// # Errors
    /// It is no JSON of a version 3 map, its mappings are malformed, name sources that are not there, or
    /// speak of more than the one line that a module is.
    pub(crate) fn parse(bytes: &[u8]) -> Result<SourceMap, DebugInfoError> {
        let whole = |reason: String| DebugInfoError { section: MAP, offset: 0, reason };
        let json: Json = serde_json::from_slice(bytes).map_err(|error| whole(error.to_string()))?;
        if json.version != 3 {
            return Err(whole(format!("it is of version {}, only version 3 is read", json.version)));
        }
        if json.sections.is_some() {
            return Err(whole(
                "it is an index of several maps (`sections`); let the compiler write one".into(),
            ));
        }
        let is_library =
            |source: &Option<String>| source.as_ref().is_some_and(|path| path.starts_with(LIBRARY));
        let is_script = |source: &Option<String>| source.as_ref().is_some_and(|path| path.ends_with(".ts"));
        let assembly_script = json.sources.iter().any(is_library)
            || !json.sources.is_empty() && json.sources.iter().all(is_script);
        // asc invents a root named after its output, in which no file is.
        let root = json.source_root.filter(|_| !assembly_script).unwrap_or_default();
        let sources: Vec<Arc<str>> =
            json.sources.iter().map(|source| path(&root, source.as_deref().unwrap_or_default())).collect();
        let contents = json.sources_content.unwrap_or_default();
        let texts = sources.iter().zip(contents);
        Ok(SourceMap {
            language: if assembly_script { Language::AssemblyScript } else { Language::Other },
            texts: texts.filter_map(|(path, text)| Some((Arc::clone(path), text?.into()))).collect(),
            segments: segments(json.mappings.as_bytes(), sources.len())?,
            sources,
        })
    }

    /// What the map says about a module's functions.
    ///
    /// # Errors
    /// The map is not of this module.
    pub(crate) fn line_info(self, module: &Module) -> Result<LineInfo, Misfit> {
        let mut rows = Vec::new();
        let mut functions = FunctionTree::default();
        for function in module.functions() {
            let (from, to) = (self.first_from(function.body.start), self.first_from(function.body.end));
            let own = &self.segments[from..to];
            let before = rows.len();
            rows.extend(rows_of(module, function, own)?);
            let Some(first) = rows.get_mut(before) else { continue };
            // What is in front of the first mapping (stack checks) belongs to it; there is no prologue
            // behind it: parameters are in Wasm locals from the start.
            *first = first.prologue_end();
            first.pc = function.first_instruction;
            rows.push(Row::end(function.body.end));
            functions.add(NONE, NONE, &[function.body], (0, 0, 0));
        }
        if let (true, Some(segment)) = (rows.is_empty(), self.segments.first()) {
            return Err(Misfit(segment.pc));
        }
        Ok(LineInfo {
            name: MAP.into(),
            language: self.language,
            files: self.sources,
            lines: LineTable::new(rows),
            functions,
            names: HashMap::new(),
            texts: self.texts,
        })
    }

    fn first_from(&self, pc: ModulePc) -> usize {
        self.segments.partition_point(|segment| segment.pc < pc)
    }
}

/// AssemblyScript's standard library, which has no path.
const LIBRARY: &str = "~lib/";

/// The rows of a function.
///
/// # Errors
/// A segment stands neither at the function's start nor at one of its instructions.
fn rows_of(module: &Module, function: &Function, segments: &[Segment]) -> Result<Vec<Row>, Misfit> {
    let mut rows: Vec<Row> = Vec::new();
    // Segments that stand at instructions already visited, and those of them that have become rows.
    let mut known = segments.iter().take_while(|segment| segment.pc == function.body.start).count();
    let mut done = 0;
    module.instructions(function, |pc, operator| {
        known += segments[known..].iter().take_while(|segment| segment.pc == pc).count();
        // A loop comes back to what is behind its `loop`: there its line begins.
        if !matches!(operator, Operator::Block { .. } | Operator::Loop { .. }) {
            let place = segments[done..known].iter().rev().find_map(|segment| segment.place);
            rows.extend(place.map(|(file, line, column)| Row::new(pc, file, line, column).statement()));
            done = known;
        }
        segments.get(known).map_or(done < known, |next| next.pc > pc)
    });
    segments.get(known).map_or(Ok(rows), |lost| Err(Misfit(lost.pc)))
}

fn path(root: &str, source: &str) -> Arc<str> {
    let plain = |url: &str| url.strip_prefix("file://").unwrap_or(url).replace('\\', "/");
    let mut path = plain(root);
    join(&mut path, &plain(source));
    if source.is_empty() { "".into() } else { fold(&path).into() }
}

/// The bytes of a `data:` URL behind its scheme (RFC 2397).
fn data_of(data: &str) -> Result<Vec<u8>, &'static str> {
    let (kind, data) = data.split_once(',').ok_or("the data: URL has no comma")?;
    let bytes = percent_decoded(data);
    if !kind.ends_with(";base64") {
        return Ok(bytes);
    }
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(bytes);
    decoded.map_err(|_| "the data: URL is no base64")
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &behind[2..];
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

/// Decodes the mappings: segments with commas between, fields as differences to the segment before.
fn segments(mappings: &[u8], sources: usize) -> Result<Vec<Segment>, DebugInfoError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut reader = Fields { bytes: mappings, at: 0 };
    let [mut pc, mut source, mut line, mut column] = [0_i64; 4];
    while let Some(byte) = mappings.get(reader.at) {
        match byte {
            b',' => {
                reader.at += 1;
                continue;
            }
            // Ends of lines without anything behind them are harmless.
            b';' if mappings[reader.at..].iter().all(|byte| *byte == b';') => break,
            b';' => return Err(reader.fault("it maps several lines of code, and a module is one")),
            _ => {}
        }
        let start = reader.at;
        let fault = |reason: &str| Fields { bytes: mappings, at: start }.fault(reason);
        let mut fields = [0; 5];
        let mut count = 0;
        while !reader.at_end() {
            *fields.get_mut(count).ok_or_else(|| fault("a segment has more than five fields"))? =
                reader.field()?;
            count += 1;
        }
        pc += fields[0];
        let place = match count {
            1 => None,
            4 | 5 => {
                (source, line, column) = (source + fields[1], line + fields[2], column + fields[3]);
                let known = usize::try_from(source).is_ok_and(|source| source < sources);
                if !known {
                    return Err(fault(&format!("there is no source {source}")));
                }
                // The map counts from 0.
                let one_more = |number: i64| u32::try_from(number).ok()?.checked_add(1);
                let place = one_more(line).zip(one_more(column));
                let (line, column) = place.ok_or_else(|| fault("a line or column is out of range"))?;
                Some((source as u32, line, column))
            }
            _ => return Err(fault("a segment must have one, four or five fields")),
        };
        let pc = u32::try_from(pc).map_err(|_| fault("an offset is out of range"))?;
        segments.push(Segment { pc: ModulePc(pc), place });
    }
    // Columns may go back. Of segments at one pc the last counts.
    segments.sort_by_key(|segment| segment.pc);
    segments.dedup_by(|next, before| {
        let same = next.pc == before.pc;
        if same {
            *before = *next;
        }
        same
    });
    Ok(segments)
}

/// Base64 VLQ fields.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn at_end(&self) -> bool {
        matches!(self.bytes.get(self.at), None | Some(b',' | b';'))
    }

    fn fault(&self, reason: &str) -> DebugInfoError {
        DebugInfoError {
            section: MAPPINGS,
            offset: u32::try_from(self.at).unwrap_or(u32::MAX),
            reason: reason.into(),
        }
    }

    /// A number: five bits a digit, the lowest first, 32 more says that more follow; the sign is bit 0.
    fn field(&mut self) -> Result<i64, DebugInfoError> {
        let mut value = 0_i64;
        for shift in (0..35).step_by(5) {
            let digit = match self.bytes.get(self.at) {
                Some(byte @ b'A'..=b'Z') => byte - b'A',
                Some(byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                None | Some(b',' | b';') => return Err(self.fault("a number is cut off")),
                Some(_) => return Err(self.fault("a byte is no base64")),
            };
            self.at += 1;
            value |= i64::from(digit & 31) << shift;
            if digit & 32 == 0 {
                let size = value >> 1;
                return Ok(if value & 1 == 0 { size } else { -size });
            }
        }
        Err(self.fault("a number has more than 32 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decoded = Vec<(u32, Option<(u32, u32, u32)>)>;

    fn decode(mappings: &str) -> Result<Decoded, String> {
        let found = segments(mappings.as_bytes(), 2).map_err(|error| error.to_string())?;
        Ok(found.iter().map(|segment| (segment.pc.0, segment.place)).collect())
    }

    #[test]
    fn fields_add_up_and_may_go_back() {
        assert_eq!(
            decode("gBAAA,ECEC,D,6BADDA"),
            Ok(vec![(16, Some((0, 1, 1))), (17, None), (18, Some((1, 3, 2))), (46, Some((1, 2, 1))),])
        );
        assert_eq!(
            decode("CAAA,EAAA,FAAC"),
            Ok(vec![(1, Some((0, 1, 2))), (3, Some((0, 1, 1)))]),
            "the last counts"
        );
    }
}
