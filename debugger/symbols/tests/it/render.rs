//! Values as one line of text, just enough to compare them. The debugger has its own.

use wasmdbg_symbols::{Encoding, Machine, Member, Symbols, Type, TypeId, TypeKind, Variable};

use crate::recording::At;

/// The value of a variable, or why there is none in angle brackets.
pub fn variable(symbols: &Symbols, variable: &Variable, at: &At<'_>) -> String {
    let Some(ty) = variable.ty else { return "<no type>".into() };
    let size = match symbols.resolved_type(ty) {
        Ok(Some(ty)) => ty.size.unwrap_or(0) as usize,
        Ok(None) => return "<void>".into(),
        Err(e) => return format!("<{e}>"),
    };
    match symbols.locate(variable, at.pc(), at).bytes(size, at) {
        Ok(bytes) => value(symbols, ty, &bytes, at, 0),
        Err(reason) => format!("<{reason}>"),
    }
}

fn value(symbols: &Symbols, id: TypeId, bytes: &[u8], machine: &dyn Machine, depth: u32) -> String {
    let ty = match symbols.resolved_type(id) {
        Ok(Some(ty)) => ty,
        Ok(None) => return "void".into(),
        Err(e) => return format!("<{e}>"),
    };
    match &ty.kind {
        TypeKind::Base(encoding) => scalar(*encoding, bytes),
        TypeKind::Pointer { target: Some(target), .. } if depth < 3 => {
            let address = unsigned(bytes) as u64;
            if address == 0 {
                return "null".into();
            }
            let size = symbols.resolved_type(*target).ok().flatten().and_then(|t| t.size).unwrap_or(0);
            match machine.memory(address, size as usize) {
                Ok(pointed) => format!("&{}", value(symbols, *target, &pointed, machine, depth + 1)),
                Err(e) => format!("&<{e}>"),
            }
        }
        TypeKind::Pointer { .. } => "pointer".into(),
        TypeKind::Function { .. } => "code".into(),
        TypeKind::Enum { values, .. } => {
            let bits = unsigned(bytes);
            let mask = if bytes.len() >= 16 { u128::MAX } else { (1 << (bytes.len() * 8)) - 1 };
            let hit = values.iter().find(|v| v.value as u128 & mask == bits);
            hit.map_or_else(|| format!("?{bits}"), |v| v.name.to_string())
        }
        TypeKind::Array { element: Some(element), lengths } => {
            array(symbols, *element, lengths, bytes, machine, depth)
        }
        TypeKind::Record { members, variants, .. } => match variants {
            Some(part) => variant(symbols, &ty, part, bytes, machine, depth),
            None => text_of(symbols, &ty, members, bytes, machine)
                .unwrap_or_else(|| fields(symbols, members, bytes, machine, depth)),
        },
        other => format!("{other:?}"),
    }
}

fn array(
    symbols: &Symbols,
    element: TypeId,
    lengths: &[Option<u64>],
    bytes: &[u8],
    machine: &dyn Machine,
    depth: u32,
) -> String {
    let Some((length, inner)) = lengths.split_first() else {
        return value(symbols, element, bytes, machine, depth);
    };
    let length = length.unwrap_or(0) as usize;
    let size = bytes.len().checked_div(length).unwrap_or(0).max(1);
    let parts: Vec<_> =
        bytes.chunks(size).map(|chunk| array(symbols, element, inner, chunk, machine, depth)).collect();
    format!("[{}]", parts.join(", "))
}

fn fields(symbols: &Symbols, members: &[Member], bytes: &[u8], machine: &dyn Machine, depth: u32) -> String {
    let parts: Vec<_> = members
        .iter()
        .filter(|m| !m.is_static)
        .map(|m| format!("{}={}", m.name.as_deref().unwrap_or("_"), field(symbols, m, bytes, machine, depth)))
        .collect();
    format!("{{{}}}", parts.join(" "))
}

fn field(symbols: &Symbols, member: &Member, bytes: &[u8], machine: &dyn Machine, depth: u32) -> String {
    let Some(ty) = member.ty else { return "?".into() };
    let resolved = symbols.resolved_type(ty).ok().flatten();
    let size = resolved.as_ref().and_then(|t| t.size).unwrap_or(0) as usize;
    let start = member.offset as usize;
    if let Some((first, width)) = member.bits {
        let end = (start + 8).min(bytes.len());
        let raw = (unsigned(&bytes[start..end]) >> first) & ((1 << width) - 1);
        let signed = resolved.is_some_and(|t| t.kind == TypeKind::Base(Encoding::Signed));
        let negative = signed && raw >> (width - 1) == 1;
        return (raw as i128 - if negative { 1 << width } else { 0 }).to_string();
    }
    value(symbols, ty, &bytes[start..start + size], machine, depth)
}

fn variant(
    symbols: &Symbols,
    ty: &Type,
    part: &wasmdbg_symbols::VariantPart,
    bytes: &[u8],
    machine: &dyn Machine,
    depth: u32,
) -> String {
    let discriminant = part.discriminant.as_ref().map_or(0, |member| {
        let size = symbols.type_of(member.ty.unwrap()).unwrap().size.unwrap() as usize;
        unsigned(&bytes[member.offset as usize..member.offset as usize + size])
    });
    match part.select(discriminant) {
        Some(chosen) => {
            let name = chosen.member.name.as_deref().unwrap_or("_");
            format!("{name}{}", field(symbols, &chosen.member, bytes, machine, depth))
        }
        None => format!("<no variant {discriminant} of {}>", ty.name),
    }
}

/// A Rust `&str` as its text, a slice as its elements.
fn text_of(
    symbols: &Symbols,
    ty: &Type,
    members: &[Member],
    bytes: &[u8],
    machine: &dyn Machine,
) -> Option<String> {
    if !ty.name.starts_with("&") {
        return None;
    }
    let part = |name: &str| members.iter().find(|m| m.name.as_deref() == Some(name));
    let number = |m: &Member| unsigned(&bytes[m.offset as usize..m.offset as usize + 4]) as usize;
    let (data, length) = (part("data_ptr")?, number(part("length")?));
    let TypeKind::Pointer { target, .. } = symbols.type_of(data.ty?).ok()?.kind else { return None };
    let size = symbols.type_of(target?).ok()?.size? as usize;
    let memory = machine.memory(number(data) as u64, size * length).ok()?;
    if &*ty.name == "&str" {
        return Some(format!("{:?}", String::from_utf8_lossy(&memory)));
    }
    let parts: Vec<_> = memory.chunks(size).map(|c| value(symbols, target?, c, machine, 0).into()).collect();
    let parts: Option<Vec<String>> = parts.into_iter().collect();
    Some(format!("[{}]", parts?.join(", ")))
}

fn unsigned(bytes: &[u8]) -> u128 {
    let mut wide = [0; 16];
    let len = bytes.len().min(16);
    wide[..len].copy_from_slice(&bytes[..len]);
    u128::from_le_bytes(wide)
}

fn scalar(encoding: Encoding, bytes: &[u8]) -> String {
    let raw = unsigned(bytes);
    let bits = bytes.len() * 8;
    match encoding {
        Encoding::Bool => (raw != 0).to_string(),
        Encoding::Float if bits == 32 => f32::from_bits(raw as u32).to_string(),
        Encoding::Float => f64::from_bits(raw as u64).to_string(),
        Encoding::Utf => format!("{:?}", char::from_u32(raw as u32).unwrap_or('?')),
        Encoding::SignedChar | Encoding::UnsignedChar if bits == 8 && (32..127).contains(&raw) => {
            format!("{:?}", char::from(raw as u8))
        }
        Encoding::Signed | Encoding::SignedChar if bits < 128 => {
            let shift = 128 - bits;
            (((raw << shift) as i128) >> shift).to_string()
        }
        Encoding::Unit => "()".into(),
        _ => raw.to_string(),
    }
}
