//! Owns what a location attribute says for a pc: one expression, or one of a list.

use gimli::AttributeValue;

use crate::debug_info::DebugInfo;
use crate::dwarf::sections::Slice;
use crate::dwarf::unit::OpenUnit;
use wasmdbg_code_address::{ModulePc, PcRange};

/// What a location attribute says for a pc.
pub(crate) struct Described<'a> {
    pub(crate) expression: gimli::Expression<Slice<'a>>,
    /// Where it holds; `None`: throughout the variable's scope.
    pub(crate) range: Option<PcRange>,
}

/// Picks the expression that a location attribute has for a pc.
pub(crate) fn pick<'a>(
    info: &DebugInfo,
    open: &OpenUnit<'a>,
    attribute: AttributeValue<Slice<'a>>,
    pc: ModulePc,
) -> Result<Option<Described<'a>>, gimli::Error> {
    if let AttributeValue::Exprloc(expression) = attribute {
        return Ok(Some(Described { expression, range: None }).filter(|d| !d.expression.0.is_empty()));
    }
    let refs = open.refs();
    let Some(mut list) = refs.attr_locations(attribute)? else { return Ok(None) };
    while let Some(entry) = list.next()? {
        let range = info.sections.code.module_range(entry.range.begin..entry.range.end);
        if let Some(range) = range.filter(|range| range.contains(pc)) {
            let described = Described { expression: entry.data, range: Some(range) };
            return Ok(Some(described).filter(|d| !d.expression.0.is_empty()));
        }
    }
    Ok(None)
}
