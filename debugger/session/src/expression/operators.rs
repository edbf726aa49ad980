//! Arithmetic, comparison and logic on values. Integers are of 128 bits here: nothing overflows that a
//! program of 64 bits can hold, and what would is an error.

use std::sync::Arc;

use wasmdbg_symbols::Language;

use super::parser::{Binary, Unary};
use crate::error::EvalError;
use crate::value::{PointerStyle, Scalar, Shape, Value, ValueState};

/// What an operator can work on.
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(Vec<u8>),
    /// An enumerator, by name.
    Name(Arc<str>, i128),
    /// A header that is not there: equal to nothing else, and false.
    Absent,
}

/// Whether two values are equal, for the keys of a map.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (operand(left), operand(right)) {
        (Ok(left), Ok(right)) => compare(&left, &right) == Ok(Some(std::cmp::Ordering::Equal)),
        _ => false,
    }
}

pub(crate) fn unary(operator: Unary, value: &Value, language: Language) -> Result<Value, String> {
    match (operator, operand(value)?) {
        (Unary::Negate, Operand::Integer(value)) => {
            value.checked_neg().map(|value| Value::integer(value, language)).ok_or_else(overflow)
        }
        (Unary::Negate, Operand::Float(value)) => Ok(float(-value, language)),
        (Unary::Not, Operand::Absent) => Ok(Value::bool(true, language)),
        (Unary::Not, Operand::Text(_)) => Ok(Value::bool(false, language)),
        (Unary::Not, Operand::Bool(value)) => Ok(Value::bool(!value, language)),
        // C's `!`; on Rust's integers `!` is the complement.
        (Unary::Not, Operand::Integer(value)) if language != Language::Rust => {
            Ok(Value::bool(value == 0, language))
        }
        (Unary::Not | Unary::Complement, Operand::Integer(value)) => Ok(Value::integer(!value, language)),
        _ => Err(format!("the operator does not fit {}", value.summary())),
    }
}

/// `right` is evaluated only when it is needed.
pub(crate) fn binary(
    operator: Binary,
    left: &Value,
    right: impl Fn() -> Result<Value, EvalError>,
    language: Language,
    position: usize,
) -> Result<Value, EvalError> {
    let fail = |message: String| EvalError { position, message };
    if let Binary::And | Binary::Or = operator {
        let decided = truth(left).map_err(fail)?;
        if decided == (operator == Binary::Or) {
            return Ok(Value::bool(decided, language));
        }
        return Ok(Value::bool(truth(&right()?).map_err(fail)?, language));
    }
    let (left, right) = (operand(left).map_err(fail)?, operand(&right()?).map_err(fail)?);
    apply(operator, &left, &right, language).map_err(fail)
}

fn apply(operator: Binary, left: &Operand, right: &Operand, language: Language) -> Result<Value, String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = || compare(left, right);
    let result = match operator {
        Binary::Equal => order()? == Some(Equal),
        Binary::NotEqual => order()? != Some(Equal),
        Binary::Less => order()? == Some(Less),
        Binary::LessEqual => matches!(order()?, Some(Less | Equal)),
        Binary::Greater => order()? == Some(Greater),
        Binary::GreaterEqual => matches!(order()?, Some(Greater | Equal)),
        _ => return arithmetic(operator, left, right, language),
    };
    Ok(Value::bool(result, language))
}

fn arithmetic(
    operator: Binary,
    left: &Operand,
    right: &Operand,
    language: Language,
) -> Result<Value, String> {
    match (left, right) {
        (Operand::Integer(left), Operand::Integer(right)) => {
            of_integers(operator, *left, *right).map(|value| Value::integer(value, language))
        }
        (Operand::Float(left), Operand::Float(right)) => of_floats(operator, *left, *right, language),
        (Operand::Float(left), Operand::Integer(right)) => {
            of_floats(operator, *left, *right as f64, language)
        }
        (Operand::Integer(left), Operand::Float(right)) => {
            of_floats(operator, *left as f64, *right, language)
        }
        _ => Err("arithmetic needs numbers on both sides".into()),
    }
}

fn of_integers(operator: Binary, left: i128, right: i128) -> Result<i128, String> {
    let result = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide | Binary::Remainder if right == 0 => return Err("division by zero".into()),
        Binary::Divide => left.checked_div(right),
        Binary::Remainder => left.checked_rem(right),
        Binary::BitAnd => Some(left & right),
        Binary::BitOr => Some(left | right),
        Binary::BitXor => Some(left ^ right),
        Binary::ShiftLeft | Binary::ShiftRight => {
            let by = u32::try_from(right).ok().filter(|by| *by < 64).ok_or("a shift is by 0 to 63 bits")?;
            if operator == Binary::ShiftLeft { left.checked_mul(1 << by) } else { Some(left >> by) }
        }
        _ => None,
    };
    result.ok_or_else(overflow)
}

fn of_floats(operator: Binary, left: f64, right: f64, language: Language) -> Result<Value, String> {
    let result = match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        Binary::Remainder => left % right,
        _ => return Err("bits are of integers, not of floats".into()),
    };
    Ok(float(result, language))
}

fn float(value: f64, language: Language) -> Value {
    Value::computed("", language, Shape::Scalar(Scalar::Float { value, single: false }))
}

fn overflow() -> String {
    "the result does not fit 128 bits".into()
}

/// The order of two operands; `None` when one is not a number (NaN) or not there.
fn compare(left: &Operand, right: &Operand) -> Result<Option<std::cmp::Ordering>, String> {
    use Operand::{Absent, Bool, Float, Integer, Name, Text};
    match (left, right) {
        (Integer(left) | Name(_, left), Integer(right) | Name(_, right)) => Ok(Some(left.cmp(right))),
        (Float(left), Float(right)) => Ok(left.partial_cmp(right)),
        (Float(left), Integer(right)) => Ok(left.partial_cmp(&(*right as f64))),
        (Integer(left), Float(right)) => Ok((*left as f64).partial_cmp(right)),
        (Bool(left), Bool(right)) => Ok(Some(left.cmp(right))),
        (Bool(left), Integer(right)) => Ok(Some(i128::from(*left).cmp(right))),
        (Integer(left), Bool(right)) => Ok(Some(left.cmp(&i128::from(*right)))),
        (Absent, Absent) => Ok(Some(std::cmp::Ordering::Equal)),
        (Absent, _) | (_, Absent) => Ok(None),
        (Text(left), Text(right)) => Ok(Some(left.cmp(right))),
        (Name(name, _), Text(text)) | (Text(text), Name(name, _)) => Ok(Some(name.as_bytes().cmp(text))),
        _ => Err("the two sides cannot be compared".into()),
    }
}

/// What a condition comes to. A text is true: it is there, as a `char *` that is not null.
pub(crate) fn truth(value: &Value) -> Result<bool, String> {
    match operand(value)? {
        Operand::Bool(value) => Ok(value),
        Operand::Integer(value) => Ok(value != 0),
        Operand::Text(_) => Ok(true),
        Operand::Absent => Ok(false),
        _ => Err(format!("{} is neither true nor false", value.summary())),
    }
}

fn operand(value: &Value) -> Result<Operand, String> {
    match value.shape() {
        Shape::Missing(ValueState::Absent) => Ok(Operand::Absent),
        Shape::Missing(state) => Err(format!("a side of it is {state}")),
        Shape::Scalar(Scalar::Bool(value)) => Ok(Operand::Bool(*value)),
        Shape::Scalar(Scalar::Float { value, .. }) => Ok(Operand::Float(*value)),
        Shape::Scalar(scalar) => {
            scalar.as_integer().map(Operand::Integer).ok_or_else(|| "`()` is no operand".into())
        }
        Shape::Enumerator { name: Some(name), value } => Ok(Operand::Name(Arc::clone(name), *value)),
        Shape::Enumerator { name: None, value } => Ok(Operand::Integer(*value)),
        Shape::Text { place, length } => {
            let read = place.read(value.target().map(Arc::as_ref), (*length).min(1 << 16));
            read.map(Operand::Text).map_err(|state: ValueState| state.to_string())
        }
        Shape::Wrapper(inner) => operand(inner),
        Shape::Pointer { pointee: Some(inner), style: PointerStyle::Owning, .. } => operand(inner),
        Shape::Pointer { address, .. } => Ok(Operand::Integer(i128::from(*address))),
        _ => Err(format!("`{}` is no operand", value.type_name())),
    }
}
