//! The guest's frames as wasmtime shows them while a slot stands: where each is, its locals and its
//! operand stack. Reads only.
//!
//! The stack can hold several activations: a host function that allocates in the guest enters it
//! again. Frames are numbered across all of them, 0 being the innermost; the depth of a frame counts
//! from the outermost, which has depth 1, and stays the same while the frame lives.
use wasmdbg_control::state::Value;
use wasmdbg_control::stop::Frame;
use wasmdbg_control::{MAX_LIST, ModulePc};
use wasmtime::{FrameHandle, Instance, StoreContextMut, Val};

/// Bytes of JSON that a frame takes besides its values.
const FRAME_SIZE: usize = 80;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// Index in the module's function index space (imports first).
    pub(crate) function: u32,
    /// Offset in the `.wasm` file: of the opcode that runs next, in outer frames of the one behind the
    /// call.
    pub(crate) pc: ModulePc,
}

/// A whole stack, without values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Innermost first.
    pub(crate) points: Vec<Point>,
    /// How often the host entered the guest.
    pub(crate) activations: u32,
}

impl Stack {
    pub(crate) fn depth(&self) -> u32 {
        u32::try_from(self.points.len()).unwrap_or(u32::MAX)
    }

    /// The frame of that depth.
    pub(crate) fn at_depth(&self, depth: u32) -> Option<Point> {
        let number = self.points.len().checked_sub(depth as usize)?;
        self.points.get(number).copied()
    }
}

/// Reads the frames of one store. Valid while the guest stands.
pub(crate) struct Frames<'a, T: 'static> {
    pub(crate) store: StoreContextMut<'a, T>,
    /// Function imports of the module.
    pub(crate) imported_functions: u32,
}

impl<T: 'static> Frames<'_, T> {
    /// Where the innermost frame is: cheap, for each single step.
    pub(crate) fn innermost(&mut self) -> Option<Point> {
        let frame = self.store.debug_exit_frames().next()?;
        self.point(&frame)
    }

    /// Walks the whole stack.
    pub(crate) fn walk(&mut self) -> Stack {
        let mut points = Vec::new();
        let activations = self.each(|frames, frame| {
            points.extend(frames.point(frame));
            true
        });
        Stack { points, activations }
    }

    /// Frames `first .. first + count` with their values, and how many there are in all. Fewer than asked
    /// when they would not fit an answer.
    pub(crate) fn read(&mut self, first: u32, count: u32) -> (Vec<Frame>, u32) {
        let mut read = Vec::new();
        let mut number: u32 = 0;
        let mut left = MAX_LIST;
        self.each(|frames, frame| {
            let Some(point) = frames.point(frame) else { return true };
            if number >= first && number - first < count && left > 0 {
                let (mut locals, mut operands) = (frames.locals(frame), frames.operands(frame));
                if read.is_empty() {
                    // The one frame that there must be, as far as it fits.
                    cut_values(&mut locals, MAX_LIST / 2 - FRAME_SIZE);
                    cut_values(&mut operands, MAX_LIST / 2 - FRAME_SIZE);
                }
                let values = locals.iter().chain(&operands).map(Value::wire_size);
                match left.checked_sub(FRAME_SIZE + values.sum::<usize>()) {
                    Some(rest) => {
                        left = rest;
                        read.push(Frame { function: point.function, pc: point.pc, locals, operands });
                    }
                    // Nor does any later one: they are in order.
                    None => left = 0,
                }
            }
            number += 1;
            true
        });
        (read, number)
    }

    /// The instance that the innermost frame runs in.
    pub(crate) fn instance(&mut self) -> Option<Instance> {
        let frame = self.store.debug_exit_frames().next()?;
        frame.instance(&mut self.store).ok()
    }

    /// Calls `visit` for each frame, innermost first, while it returns true. Returns the number of
    /// activations.
    fn each(&mut self, mut visit: impl FnMut(&mut Self, &FrameHandle) -> bool) -> u32 {
        let exits: Vec<FrameHandle> = self.store.debug_exit_frames().collect();
        let activations = u32::try_from(exits.len()).unwrap_or(u32::MAX);
        for exit in exits {
            let mut next = Some(exit);
            while let Some(frame) = next {
                if !visit(self, &frame) {
                    return activations;
                }
                // Fails only for a stale handle: the guest stands, so none is.
                next = frame.parent(&mut self.store).ok().flatten();
            }
        }
        activations
    }

    fn point(&mut self, frame: &FrameHandle) -> Option<Point> {
        let (function, pc) = frame.wasm_function_index_and_pc(&mut self.store).ok()??;
        Some(Point { function: self.imported_functions + function.as_u32(), pc: ModulePc(pc.raw()) })
    }

    fn locals(&mut self, frame: &FrameHandle) -> Vec<Value> {
        let count = frame.num_locals(&mut self.store).unwrap_or(0);
        (0..count).map(|index| frame.local(&mut self.store, index).map_or(Value::Unknown, value)).collect()
    }

    fn operands(&mut self, frame: &FrameHandle) -> Vec<Value> {
        let count = frame.num_stacks(&mut self.store).unwrap_or(0);
        (0..count).map(|index| frame.stack(&mut self.store, index).map_or(Value::Unknown, value)).collect()
    }
}

/// Keeps the first values, as many as take no more than `bytes`.
fn cut_values(values: &mut Vec<Value>, bytes: usize) {
    let sizes = values.iter().scan(0, |sum, value| {
        *sum += value.wire_size();
        Some(*sum)
    });
    let fitting = sizes.take_while(|sum| *sum <= bytes).count();
    values.truncate(fitting);
}

/// A value as it goes over the wire.
pub(crate) fn value(value: Val) -> Value {
    let reference = |null: bool, kind: &str| Value::Ref(if null { "null" } else { kind }.to_owned());
    match value {
        Val::I32(value) => Value::I32(value),
        Val::I64(value) => Value::I64(value),
        Val::F32(bits) => Value::F32(bits),
        Val::F64(bits) => Value::F64(bits),
        Val::V128(bits) => Value::V128(format!("{:032x}", bits.as_u128())),
        Val::FuncRef(function) => reference(function.is_none(), "func"),
        Val::ExternRef(object) => reference(object.is_none(), "extern"),
        Val::AnyRef(object) => reference(object.is_none(), "any"),
        Val::ExnRef(object) => reference(object.is_none(), "exn"),
        Val::ContRef(_) => Value::Unknown,
    }
}

/// The way back, for globals.
pub(crate) fn to_val(value: &Value) -> Option<Val> {
    Some(match value {
        Value::I32(value) => Val::I32(*value),
        Value::I64(value) => Val::I64(*value),
        Value::F32(bits) => Val::F32(*bits),
        Value::F64(bits) => Val::F64(*bits),
        Value::V128(digits) if digits.len() == 32 => Val::V128(u128::from_str_radix(digits, 16).ok()?.into()),
        Value::V128(_) | Value::Ref(_) | Value::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_both_ways() {
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        for shown in [
            Value::I32(-1),
            Value::I64(i64::MIN),
            Value::F32(0x7fc0_1234),
            Value::F64(nan.to_bits()),
            Value::V128(String::from("000102030405060708090a0b0c0d0e0f")),
        ] {
            assert_eq!(to_val(&shown).map(value), Some(shown));
        }
        assert!(to_val(&Value::V128(String::from("12"))).is_none());
        assert!(to_val(&Value::Unknown).is_none());
    }
}
