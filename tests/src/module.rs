//! Wasm modules as bytes: taken apart into sections and changed, to make the inputs that a user can
//! hand us by mistake.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// A section of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its id; 0 is a custom section.
    pub id: u8,
    /// The name of a custom section.
    pub name: String,
    /// Where all of it is, id and size included.
    pub whole: Range<usize>,
    /// Where its content is, the name of a custom section left out.
    pub content: Range<usize>,
}

/// The sections in their order.
///
/// # Errors
/// When the bytes are no module.
pub fn sections(module: &[u8]) -> Result<Vec<Section>> {
    ensure!(module.starts_with(b"\0asm\x01\0\0\0"), "not a Wasm module");
    let mut found = Vec::new();
    let mut at = 8;
    while at < module.len() {
        let start = at;
        let id = module[at];
        at += 1;
        let size = leb(module, &mut at)?;
        let end = at + size;
        ensure!(end <= module.len(), "a section is cut");
        let mut name = String::new();
        if id == 0 {
            let length = leb(module, &mut at)?;
            name =
                String::from_utf8_lossy(module.get(at..at + length).context("a name is cut")?).into_owned();
            at += length;
        }
        found.push(Section { id, name, whole: start..end, content: at..end });
        at = end;
    }
    Ok(found)
}

/// Reads an unsigned LEB128 number.
fn leb(bytes: &[u8], at: &mut usize) -> Result<usize> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at).context("a number is cut")?;
        *at += 1;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    anyhow::bail!("a number is too long")
}

/// The module without the custom sections whose name starts with `prefix`.
///
/// # Errors
/// When the bytes are no module.
pub fn without_custom(module: &[u8], prefix: &str) -> Result<Vec<u8>> {
    let mut bytes = module[..8].to_vec();
    for section in sections(module)? {
        if section.id != 0 || !section.name.starts_with(prefix) {
            bytes.extend_from_slice(&module[section.whole]);
        }
    }
    Ok(bytes)
}

/// The module with the content of one custom section overwritten by nonsense.
///
/// # Errors
/// When there is no such section.
pub fn with_corrupt(module: &[u8], name: &str) -> Result<Vec<u8>> {
    let sections = sections(module)?;
    let section =
        sections.iter().find(|section| section.name == name).with_context(|| format!("no section {name}"))?;
    let mut bytes = module.to_vec();
    for (index, byte) in bytes[section.content.clone()].iter_mut().enumerate() {
        // Neither zeros nor all ones: lengths and offsets that point anywhere.
        *byte = (index.wrapping_mul(0x9d) >> 3) as u8;
    }
    Ok(bytes)
}

/// The module with a name replaced wherever it stands as a whole; both must have the same length.
///
/// # Errors
/// When the lengths differ or the name is not there.
pub fn renamed(module: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "the names differ in length");
    let mut bytes = module.to_vec();
    let mut count = 0;
    for section in sections(module)?.iter().filter(|section| matches!(section.id, 2 | 7)) {
        let content = &mut bytes[section.content.clone()];
        for at in 1..content.len().saturating_sub(from.len()) {
            // A name in an import or export section has its length before it.
            if usize::from(content[at - 1]) == from.len() && &content[at..at + from.len()] == from.as_bytes()
            {
                content[at..at + from.len()].copy_from_slice(to.as_bytes());
                count += 1;
            }
        }
    }
    ensure!(count > 0, "no import or export is called {from}");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{renamed, sections, with_corrupt, without_custom};
    use crate::ats::example;

    #[test]
    fn a_module_is_taken_apart_and_changed() {
        let module = std::fs::read(example("rust-token", "debug")).unwrap();
        let names = |bytes: &[u8]| -> Vec<String> {
            sections(bytes).unwrap().into_iter().map(|section| section.name).collect()
        };
        assert!(names(&module).contains(&".debug_line".to_string()));
        let stripped = without_custom(&module, ".debug").unwrap();
        assert!(!names(&stripped).iter().any(|name| name.starts_with(".debug")));
        assert!(names(&stripped).contains(&"name".to_string()));
        assert_eq!(with_corrupt(&module, ".debug_info").unwrap().len(), module.len());
        assert!(renamed(&module, "proxy_log", "proxy_lug").is_ok());
        assert!(renamed(&module, "proxy_nothing", "proxy_noxhing").is_err());
    }
}
