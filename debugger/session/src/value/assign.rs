//! A new value for a variable in memory or a Wasm global: what an expression gave, as the variable's bytes.
//! Owns what can be set and says why the rest cannot; writes nothing.

use wasmdbg_control::state::Value as Wire;
use wasmdbg_symbols::{Encoding, TypeKind};

use super::place::Place;
use super::scalar::Scalar;
use super::tree::{Shape, Value};

/// The address and the bytes that make `to` hold `new`.
pub(crate) fn encode(to: &Value, new: &Value) -> Result<(u64, Vec<u8>), String> {
    match to.shape() {
        Shape::Missing(state) => return Err(format!("it is {state}: there is nothing to set")),
        Shape::Wrapper(inner) => return encode(inner, new),
        _ => {}
    }
    let address = match to.place() {
        Place::Memory(address) => *address,
        Place::Bytes { .. } | Place::Missing(_) => {
            return Err(
                "it is in a Wasm local or on the operand stack, which the engine cannot write; only \
                        variables in linear memory can be set (build without optimisation)"
                    .into(),
            );
        }
    };
    if to.bits().is_some() {
        return Err("it is a bit field: set the memory around it".into());
    }
    let ty = to.resolved().ok_or("its type is not known")?;
    let size = ty.size.and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=16).contains(size));
    let only = || format!("a `{}` cannot be set as a whole: set its fields, or write memory", to.type_name());
    let size = size.ok_or_else(only)?;
    let bytes = match &ty.kind {
        TypeKind::Base(Encoding::Float) => return float(new, size).map(|bytes| (address, bytes)),
        TypeKind::Base(Encoding::Bool) => match integer(new)? {
            value @ (0 | 1) => fit(value, size, false)?,
            other => return Err(format!("{other} is neither true nor false")),
        },
        TypeKind::Base(Encoding::Utf)
            if char::from_u32(integer(new)?.try_into().unwrap_or(u32::MAX)).is_none() =>
        {
            return Err(format!("{} is no character", new.summary()));
        }
        TypeKind::Base(Encoding::Signed | Encoding::SignedChar) => fit(integer(new)?, size, true)?,
        TypeKind::Base(Encoding::Unsigned | Encoding::UnsignedChar | Encoding::Utf) => {
            fit(integer(new)?, size, false)?
        }
        TypeKind::Pointer { .. } => fit(integer(new)?, size, false)?,
        TypeKind::Enum { values, .. } => {
            let value = match new.shape() {
                Shape::Text { .. } => {
                    let name = new.summary();
                    let name = name.trim_matches('"').rsplit("::").next().unwrap_or_default();
                    let found = values.iter().find(|known| &*known.name == name);
                    found.ok_or_else(|| format!("`{}` has no enumerator {name}", to.type_name()))?.value
                }
                _ => integer(new)?,
            };
            fit(value, size, value < 0)?
        }
        _ => return Err(only()),
    };
    Ok((address, bytes))
}

/// The number that makes a Wasm global hold `new`, where it holds `old` now. A number without its sign is as
/// good: both are the same bits.
pub(crate) fn encode_global(old: &Wire, new: &Value) -> Result<Wire, String> {
    let too_large = |bits: u32| format!("{} does not fit {bits} bits", new.summary());
    match old {
        Wire::I32(_) => {
            let value = integer(new)?;
            let unsigned = u32::try_from(value).map(u32::cast_signed);
            i32::try_from(value).or(unsigned).map(Wire::I32).map_err(|_| too_large(32))
        }
        Wire::I64(_) => {
            let value = integer(new)?;
            let unsigned = u64::try_from(value).map(u64::cast_signed);
            i64::try_from(value).or(unsigned).map(Wire::I64).map_err(|_| too_large(64))
        }
        _ => Err("only integer globals can be set".into()),
    }
}

/// Whether `text` is the name of an enumerator of the value's type.
pub(crate) fn is_enumerator(value: &Value, text: &str) -> bool {
    let name = text.trim().rsplit("::").next().unwrap_or(text);
    value.resolved().is_some_and(|ty| match &ty.kind {
        TypeKind::Enum { values, .. } => values.iter().any(|known| &*known.name == name),
        _ => false,
    })
}

fn integer(new: &Value) -> Result<i128, String> {
    new.as_integer().ok_or_else(|| format!("{} is no integer", new.summary()))
}

fn float(new: &Value, size: usize) -> Result<Vec<u8>, String> {
    let value = match new.shape() {
        Shape::Scalar(Scalar::Float { value, .. }) => *value,
        _ => integer(new)? as f64,
    };
    match size {
        4 => Ok((value as f32).to_le_bytes().to_vec()),
        8 => Ok(value.to_le_bytes().to_vec()),
        _ => Err(format!("a float of {size} bytes cannot be set")),
    }
}

/// `value` in `size` bytes, if it fits.
fn fit(value: i128, size: usize, signed: bool) -> Result<Vec<u8>, String> {
    let bits = size as u32 * 8;
    let fits = match (signed, bits) {
        (true, 128) => true,
        (true, _) => (-(1i128 << (bits - 1))..1i128 << (bits - 1)).contains(&value),
        (false, 128) => value >= 0,
        (false, _) => (0..1i128 << bits).contains(&value),
    };
    if !fits {
        let kind = if signed { "signed" } else { "unsigned" };
        return Err(format!("{value} does not fit {bits} {kind} bits"));
    }
    Ok(value.to_le_bytes()[..size].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_little_endian_and_the_rest_is_refused() {
        assert_eq!(fit(258, 2, false), Ok(vec![2, 1]));
        assert_eq!(fit(-2, 4, true), Ok(vec![0xfe, 0xff, 0xff, 0xff]));
        assert_eq!(fit(255, 1, false), Ok(vec![255]));
        assert!(fit(256, 1, false).is_err() && fit(-1, 8, false).is_err() && fit(128, 1, true).is_err());
        assert_eq!(fit(i128::from(u64::MAX), 8, false), Ok(vec![255; 8]));
    }
}
