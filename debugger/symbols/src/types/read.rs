//! Owns the reading of one type entry into a [`Type`]. Follows references only for names.

use std::cell::Cell;
use std::sync::Arc;

use gimli::AttributeValue;

use crate::debug_info::DebugInfo;
use crate::dwarf::sections::{Entry, Slice};
use crate::dwarf::unit::OpenUnit;
use crate::error::DebugInfoError;
use crate::ids::TypeId;
use crate::language::Language;
use crate::types::{
    Encoding, Enumerator, Member, PointerKind, RecordKind, Type, TypeKind, Variant, VariantPart,
};

/// How many references a made-up name follows one behind the other (`*const *const [u8]`).
const MAX_NAME_DEPTH: usize = 12;
/// And in all: a function type can have itself as each of its parameters.
const MAX_NAME_PARTS: u32 = 200;
/// More members or enumerators than any source has; broken info can claim millions.
const MAX_CHILDREN: usize = 65_536;

impl DebugInfo {
    /// The type that a reference attribute means, signatures of type units included.
    pub(crate) fn type_reference(
        &self,
        open: &OpenUnit<'_>,
        value: AttributeValue<Slice<'_>>,
    ) -> Option<TypeId> {
        match value {
            AttributeValue::UnitRef(offset) => Some(TypeId(open.global(offset))),
            AttributeValue::DebugInfoRef(offset) => u32::try_from(offset.0).ok().map(TypeId),
            AttributeValue::DebugTypesRef(signature) => self.type_of_signature(signature.0).map(TypeId),
            _ => None,
        }
    }

    pub(crate) fn read_type(&self, id: TypeId) -> Result<Type, DebugInfoError> {
        let unit = self.unit_of(id.0).ok_or_else(|| DebugInfoError::dwarf(id.0, "a type is in no unit"))?;
        let open = self.open(unit)?;
        let entry = open.unit.entry(open.local(id.0)?).map_err(open.fail(id.0))?;
        let left = Cell::new(MAX_NAME_PARTS);
        let reader = TypeReader { info: self, open: &open, language: self.language(unit), left: &left };
        let kind = reader.kind(&entry)?;
        let (name, short) = reader.names(id, &entry, &kind, 0);
        Ok(Type { id, name, short, size: reader.size(&entry, &kind), kind, language: reader.language })
    }

    /// The name of a type that another one's name needs, `depth` references behind it; takes a part from
    /// what is `left`.
    fn type_name(&self, id: Option<TypeId>, language: Language, depth: usize, left: &Cell<u32>) -> String {
        let unknown = || if language == Language::Rust { "()" } else { "void" }.to_owned();
        let Some(id) = id else { return unknown() };
        if depth > MAX_NAME_DEPTH || left.get() == 0 {
            return "…".into();
        }
        left.set(left.get() - 1);
        let read = || {
            let unit = self.unit_of(id.0)?;
            let open = self.open(unit).ok()?;
            let entry = open.unit.entry(open.local(id.0).ok()?).ok()?;
            let reader = TypeReader { info: self, open: &open, language, left };
            let kind = reader.kind_for_name(&entry).ok()?;
            Some(reader.names(id, &entry, &kind, depth).0.to_string())
        };
        read().unwrap_or_else(|| "?".into())
    }
}

struct TypeReader<'r, 'a> {
    info: &'r DebugInfo,
    open: &'r OpenUnit<'a>,
    language: Language,
    /// How many more parts the name may have.
    left: &'r Cell<u32>,
}

impl<'a> TypeReader<'_, 'a> {
    fn string(&self, entry: &Entry<'a>, name: gimli::DwAt) -> Option<Arc<str>> {
        let value = entry.attr_value(name)?;
        self.open.refs().attr_string(value).ok().map(|s| s.to_string_lossy().into())
    }

    fn ty(&self, entry: &Entry<'a>) -> Option<TypeId> {
        self.info.type_reference(self.open, entry.attr_value(gimli::DW_AT_type)?)
    }

    fn number(entry: &Entry<'a>, name: gimli::DwAt) -> Option<u64> {
        entry.attr(name).and_then(gimli::Attribute::udata_value)
    }

    fn kind(&self, entry: &Entry<'a>) -> Result<TypeKind, DebugInfoError> {
        Ok(match entry.tag() {
            gimli::DW_TAG_structure_type => self.record(entry, RecordKind::Struct)?,
            gimli::DW_TAG_class_type => self.record(entry, RecordKind::Class)?,
            gimli::DW_TAG_union_type => self.record(entry, RecordKind::Union)?,
            gimli::DW_TAG_enumeration_type => self.enumeration(entry)?,
            gimli::DW_TAG_array_type => {
                TypeKind::Array { element: self.ty(entry), lengths: self.lengths(entry)? }
            }
            gimli::DW_TAG_subroutine_type => {
                let mut parameters = Vec::new();
                self.children(entry, |child| {
                    if child.tag() == gimli::DW_TAG_formal_parameter {
                        parameters.extend(self.ty(child));
                    }
                    Ok(())
                })?;
                TypeKind::Function { result: self.ty(entry), parameters }
            }
            _ => self.kind_for_name(entry)?,
        })
    }

    /// The kind as far as a name needs it: without members.
    fn kind_for_name(&self, entry: &Entry<'a>) -> Result<TypeKind, DebugInfoError> {
        let alias = |how| TypeKind::Alias { how, target: self.ty(entry) };
        let pointer = |kind| TypeKind::Pointer { kind, target: self.ty(entry) };
        Ok(match entry.tag() {
            gimli::DW_TAG_base_type => TypeKind::Base(encoding(entry)),
            gimli::DW_TAG_pointer_type => pointer(PointerKind::Pointer),
            gimli::DW_TAG_reference_type => pointer(PointerKind::Reference),
            gimli::DW_TAG_rvalue_reference_type => pointer(PointerKind::RvalueReference),
            gimli::DW_TAG_typedef => alias("typedef"),
            gimli::DW_TAG_const_type => alias("const"),
            gimli::DW_TAG_volatile_type => alias("volatile"),
            gimli::DW_TAG_restrict_type => alias("restrict"),
            gimli::DW_TAG_atomic_type => alias("atomic"),
            gimli::DW_TAG_array_type | gimli::DW_TAG_subroutine_type => self.kind_with_children(entry)?,
            tag => TypeKind::Other(tag.static_string().unwrap_or("an unknown tag").to_owned()),
        })
    }

    fn kind_with_children(&self, entry: &Entry<'a>) -> Result<TypeKind, DebugInfoError> {
        self.kind(entry)
    }

    /// Calls `visit` with each child of an entry.
    fn children(
        &self,
        entry: &Entry<'a>,
        mut visit: impl FnMut(&Entry<'a>) -> Result<(), DebugInfoError>,
    ) -> Result<(), DebugInfoError> {
        let fail = self.open.fail(self.open.global(entry.offset()));
        let mut tree = self.open.unit.entries_tree(Some(entry.offset())).map_err(&fail)?;
        let mut children = tree.root().map_err(&fail)?.children();
        let mut seen = 0;
        while let Some(child) = children.next().map_err(&fail)? {
            seen += 1;
            if seen > MAX_CHILDREN {
                let offset = self.open.global(entry.offset());
                return Err(DebugInfoError::dwarf(offset, format!("more than {MAX_CHILDREN} members")));
            }
            visit(child.entry())?;
        }
        Ok(())
    }

    fn record(&self, entry: &Entry<'a>, kind: RecordKind) -> Result<TypeKind, DebugInfoError> {
        let (mut members, mut bases, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
        let mut variants = None;
        self.children(entry, |child| {
            match child.tag() {
                // Where a virtual base class lies only the object itself says, through its vtable: better
                // not shown than shown at a wrong place.
                gimli::DW_TAG_member | gimli::DW_TAG_inheritance if self.offset(child).is_none() => {}
                gimli::DW_TAG_member => members.push(self.member(child)),
                gimli::DW_TAG_inheritance => bases.push(Member { name: None, ..self.member(child) }),
                gimli::DW_TAG_variant_part => variants = Some(self.variant_part(child)?),
                gimli::DW_TAG_template_type_parameter => {
                    let name = self.string(child, gimli::DW_AT_name).unwrap_or_else(|| "_".into());
                    arguments.extend(self.ty(child).map(|ty| (name, ty)));
                }
                // DWARF 5 has static members as variables.
                gimli::DW_TAG_variable => {
                    members.push(Member { is_static: true, ..self.member(child) });
                }
                _ => {}
            }
            Ok(())
        })?;
        let declaration = entry.has_attr(gimli::DW_AT_declaration);
        Ok(TypeKind::Record { kind, members, bases, variants, arguments, declaration })
    }

    /// DW_AT_data_member_location where it is a plain offset: a constant, or the addition of one
    /// (DWARF 2). 0 when absent, as in unions.
    fn offset(&self, entry: &Entry<'a>) -> Option<u64> {
        let Some(attribute) = entry.attr(gimli::DW_AT_data_member_location) else { return Some(0) };
        let AttributeValue::Exprloc(expression) = attribute.value() else { return attribute.udata_value() };
        let mut operations = expression.operations(self.open.unit.encoding());
        match (operations.next(), operations.next()) {
            (Ok(Some(gimli::Operation::PlusConstant { value })), Ok(None)) => Some(value),
            _ => None,
        }
    }

    fn member(&self, entry: &Entry<'a>) -> Member {
        let ty = self.ty(entry);
        let mut offset = self.offset(entry).unwrap_or(0);
        let mut bits = None;
        if let Some(width) = Self::number(entry, gimli::DW_AT_bit_size) {
            if let Some(first) = Self::number(entry, gimli::DW_AT_data_bit_offset) {
                offset = first / 8;
                bits = Some((first % 8, width));
            } else if let Some(from_top) = Self::number(entry, gimli::DW_AT_bit_offset) {
                // DWARF 2 to 4 count from the most significant bit of the storage unit.
                let storage = Self::number(entry, gimli::DW_AT_byte_size)
                    .or_else(|| self.plain_size(ty))
                    .unwrap_or(4)
                    .saturating_mul(8);
                bits = Some((storage.saturating_sub(from_top).saturating_sub(width), width));
            } else {
                bits = Some((0, width));
            }
        }
        Member {
            name: self.string(entry, gimli::DW_AT_name),
            ty,
            offset,
            bits,
            artificial: entry.has_attr(gimli::DW_AT_artificial),
            is_static: entry.has_attr(gimli::DW_AT_external)
                && !entry.has_attr(gimli::DW_AT_data_member_location),
        }
    }

    /// Size of a type behind names, for the storage unit of a bit field.
    fn plain_size(&self, ty: Option<TypeId>) -> Option<u64> {
        let mut at = ty;
        for _ in 0..MAX_NAME_DEPTH {
            let entry = self.open.unit.entry(self.open.local(at?.0).ok()?).ok()?;
            if let Some(size) = Self::number(&entry, gimli::DW_AT_byte_size) {
                return Some(size);
            }
            at = self.ty(&entry);
        }
        None
    }

    fn variant_part(&self, entry: &Entry<'a>) -> Result<VariantPart, DebugInfoError> {
        let fail = self.open.fail(self.open.global(entry.offset()));
        let discriminant = match entry.attr_value(gimli::DW_AT_discr) {
            Some(AttributeValue::UnitRef(offset)) => {
                Some(self.member(&self.open.unit.entry(offset).map_err(&fail)?))
            }
            _ => None,
        };
        let size = discriminant.as_ref().and_then(|d| self.plain_size(d.ty)).unwrap_or(8);
        let mut variants = Vec::new();
        self.children(entry, |child| {
            if child.tag() != gimli::DW_TAG_variant {
                return Ok(());
            }
            let values = discriminant_values(child, size);
            self.children(child, |grandchild| {
                if grandchild.tag() == gimli::DW_TAG_member {
                    variants.push(Variant { values: values.clone(), member: self.member(grandchild) });
                }
                Ok(())
            })
        })?;
        Ok(VariantPart { discriminant, variants })
    }

    fn enumeration(&self, entry: &Entry<'a>) -> Result<TypeKind, DebugInfoError> {
        let base = self.ty(entry);
        let unsigned = base.is_some_and(|base| self.is_unsigned(base));
        let mut values = Vec::new();
        self.children(entry, |child| {
            if let (gimli::DW_TAG_enumerator, Some(attribute)) =
                (child.tag(), child.attr(gimli::DW_AT_const_value))
            {
                let signed = attribute.sdata_value().map(i128::from);
                let plain = attribute.udata_value().map(i128::from);
                let value = if unsigned { plain.or(signed) } else { signed.or(plain) };
                let name = self.string(child, gimli::DW_AT_name).unwrap_or_default();
                values.extend(value.map(|value| Enumerator { name, value }));
            }
            Ok(())
        })?;
        Ok(TypeKind::Enum { base, values })
    }

    fn is_unsigned(&self, ty: TypeId) -> bool {
        let Ok(offset) = self.open.local(ty.0) else { return false };
        self.open.unit.entry(offset).is_ok_and(|entry| {
            matches!(encoding(&entry), Encoding::Unsigned | Encoding::UnsignedChar | Encoding::Bool)
        })
    }

    fn lengths(&self, entry: &Entry<'a>) -> Result<Vec<Option<u64>>, DebugInfoError> {
        let mut lengths = Vec::new();
        self.children(entry, |child| {
            if child.tag() == gimli::DW_TAG_subrange_type {
                let lower = Self::number(child, gimli::DW_AT_lower_bound).unwrap_or(0);
                let upper = Self::number(child, gimli::DW_AT_upper_bound);
                let counted = Self::number(child, gimli::DW_AT_count);
                // An upper bound of -1 is an empty array.
                let empty = child.attr(gimli::DW_AT_upper_bound).and_then(gimli::Attribute::sdata_value);
                let spanned = upper.and_then(|upper| upper.checked_sub(lower)?.checked_add(1));
                lengths.push(if empty == Some(-1) { Some(0) } else { counted.or(spanned) });
            }
            Ok(())
        })?;
        Ok(lengths)
    }

    fn size(&self, entry: &Entry<'a>, kind: &TypeKind) -> Option<u64> {
        let pointer = u64::from(self.open.unit.header.address_size());
        Self::number(entry, gimli::DW_AT_byte_size).or_else(|| match kind {
            TypeKind::Pointer { .. } => Some(pointer),
            TypeKind::Alias { target, .. } => self.info.size_of((*target)?, 0),
            TypeKind::Array { element, lengths } => {
                let element = self.info.size_of((*element)?, 0)?;
                lengths.iter().try_fold(element, |size, length| size.checked_mul((*length)?))
            }
            TypeKind::Enum { base, .. } => self.info.size_of((*base)?, 0),
            _ => None,
        })
    }

    /// The full and the short name.
    fn names(&self, id: TypeId, entry: &Entry<'a>, kind: &TypeKind, depth: usize) -> (Arc<str>, Arc<str>) {
        if let Some(short) = self.string(entry, gimli::DW_AT_name) {
            let full = self.info.entries(self.open.index).map_or_else(
                |_| short.to_string(),
                |entries| entries.qualified(&self.info.sections, entries.scope_of(id.0), &short),
            );
            return (full.into(), short);
        }
        let name: Arc<str> = self.made_up(entry, kind, depth).into();
        (name.clone(), name)
    }

    fn made_up(&self, entry: &Entry<'a>, kind: &TypeKind, depth: usize) -> String {
        let rust = self.language == Language::Rust;
        let name = |id: &Option<TypeId>| self.info.type_name(*id, self.language, depth + 1, self.left);
        match kind {
            TypeKind::Pointer { kind: PointerKind::Pointer, target } if rust => format!("*{}", name(target)),
            TypeKind::Pointer { kind, target } => {
                let mark = match kind {
                    PointerKind::Pointer => "*",
                    PointerKind::Reference => "&",
                    PointerKind::RvalueReference => "&&",
                };
                format!("{} {mark}", name(target)).replace("* *", "**")
            }
            TypeKind::Alias { how, target } => format!("{how} {}", name(target)),
            TypeKind::Array { element, lengths } if rust => {
                let shape = |inner: String, length: &Option<u64>| match length {
                    Some(length) => format!("[{inner}; {length}]"),
                    None => format!("[{inner}]"),
                };
                lengths.iter().rev().fold(name(element), shape)
            }
            TypeKind::Array { element, lengths } => {
                let bound = |length: &Option<u64>| length.map_or("[]".into(), |n| format!("[{n}]"));
                format!("{} {}", name(element), lengths.iter().map(bound).collect::<String>())
            }
            TypeKind::Function { result, parameters } => {
                let shown = parameters.iter().take(self.left.get() as usize + 1);
                let list: Vec<_> = shown.map(|p| name(&Some(*p))).collect();
                if rust {
                    let result = result.map(|_| format!(" -> {}", name(result))).unwrap_or_default();
                    format!("fn({}){result}", list.join(", "))
                } else {
                    format!("{} ({})", name(result), list.join(", "))
                }
            }
            _ => format!("({})", nameless(entry.tag())),
        }
    }
}

impl DebugInfo {
    /// Size of a type behind typedefs and arrays of arrays.
    fn size_of(&self, id: TypeId, depth: usize) -> Option<u64> {
        if depth > MAX_NAME_DEPTH {
            return None;
        }
        let open = self.open(self.unit_of(id.0)?).ok()?;
        let entry = open.unit.entry(open.local(id.0).ok()?).ok()?;
        if let Some(size) = TypeReader::number(&entry, gimli::DW_AT_byte_size) {
            return Some(size);
        }
        let left = Cell::new(0);
        let reader = TypeReader { info: self, open: &open, language: Language::Other, left: &left };
        match reader.kind_for_name(&entry).ok()? {
            TypeKind::Pointer { .. } => Some(u64::from(open.unit.header.address_size())),
            TypeKind::Alias { target, .. } => self.size_of(target?, depth + 1),
            TypeKind::Array { element, lengths } => {
                let element = self.size_of(element?, depth + 1)?;
                lengths.iter().try_fold(element, |size, length| size.checked_mul((*length)?))
            }
            _ => None,
        }
    }
}

fn nameless(tag: gimli::DwTag) -> &'static str {
    match tag {
        gimli::DW_TAG_structure_type => "anonymous struct",
        gimli::DW_TAG_class_type => "anonymous class",
        gimli::DW_TAG_union_type => "anonymous union",
        gimli::DW_TAG_enumeration_type => "anonymous enum",
        _ => "unnamed type",
    }
}

fn encoding(entry: &Entry<'_>) -> Encoding {
    let Some(AttributeValue::Encoding(encoding)) = entry.attr_value(gimli::DW_AT_encoding) else {
        return Encoding::Other(0);
    };
    let empty = TypeReader::number(entry, gimli::DW_AT_byte_size) == Some(0);
    match encoding {
        _ if empty => Encoding::Unit,
        gimli::DW_ATE_signed => Encoding::Signed,
        gimli::DW_ATE_unsigned => Encoding::Unsigned,
        gimli::DW_ATE_float => Encoding::Float,
        gimli::DW_ATE_boolean => Encoding::Bool,
        gimli::DW_ATE_UTF => Encoding::Utf,
        gimli::DW_ATE_signed_char => Encoding::SignedChar,
        gimli::DW_ATE_unsigned_char => Encoding::UnsignedChar,
        other => Encoding::Other(other.0),
    }
}

/// DW_AT_discr_value and DW_AT_discr_list, as bits of the discriminant's size: values are written in
/// signed forms too.
fn discriminant_values(entry: &Entry<'_>, size: u64) -> Vec<std::ops::RangeInclusive<u128>> {
    let mask = if size >= 16 { u128::MAX } else { (1_u128 << (size * 8)) - 1 };
    if let Some(attribute) = entry.attr(gimli::DW_AT_discr_value) {
        let bits = match attribute.value() {
            AttributeValue::Block(bytes) => {
                let mut wide = [0; 16];
                let len = bytes.len().min(16);
                wide[..len].copy_from_slice(&bytes[..len]);
                Some(u128::from_le_bytes(wide))
            }
            _ => attribute
                .sdata_value()
                .map(|v| i128::from(v) as u128)
                .or_else(|| attribute.udata_value().map(u128::from)),
        };
        return bits.map(|bits| (bits & mask)..=(bits & mask)).into_iter().collect();
    }
    let Some(AttributeValue::Block(list)) = entry.attr_value(gimli::DW_AT_discr_list) else {
        return Vec::new();
    };
    discriminant_list(list, mask).unwrap_or_default()
}

fn discriminant_list(
    mut list: Slice<'_>,
    mask: u128,
) -> Result<Vec<std::ops::RangeInclusive<u128>>, gimli::Error> {
    use gimli::Reader as _;
    let mut out = Vec::new();
    while !list.is_empty() {
        let range = list.read_u8()? == gimli::DW_DSC_range.0;
        let low = u128::from(list.read_uleb128()?) & mask;
        let high = if range { u128::from(list.read_uleb128()?) & mask } else { low };
        out.push(low..=high);
    }
    Ok(out)
}
