//! Opcodes on numbers and memory.

use wasmparser::{MemArg, Operator as O};

use super::{Machine, Val};

pub(super) fn run(machine: &mut Machine, operator: &O<'static>) -> Result<(), String> {
    if memory(machine, operator)? || constants(machine, operator) {
        return Ok(());
    }
    if let Some(result) = unary(operator, *machine.top().operands.last().expect("an operand"))? {
        machine.pop();
        machine.push(result);
        return Ok(());
    }
    let (right, left) = (machine.pop(), machine.pop());
    let result = binary(operator, left, right)?;
    machine.push(result);
    Ok(())
}

fn constants(machine: &mut Machine, operator: &O<'static>) -> bool {
    let value = match operator {
        O::I32Const { value } => Val::I32(*value as u32),
        O::I64Const { value } => Val::I64(*value as u64),
        O::F32Const { value } => Val::F32(value.bits()),
        O::F64Const { value } => Val::F64(value.bits()),
        _ => return false,
    };
    machine.push(value);
    true
}

fn address(machine: &mut Machine, arg: &MemArg, size: usize) -> Result<usize, String> {
    let at = u64::from(machine.pop().u32()) + arg.offset;
    let at = usize::try_from(at).map_err(|_| "out of bounds memory access")?;
    if at + size > machine.memory.len() {
        return Err("out of bounds memory access".into());
    }
    Ok(at)
}

fn load(machine: &mut Machine, arg: &MemArg, size: usize) -> Result<u64, String> {
    let at = address(machine, arg, size)?;
    Ok(machine.memory[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn store(machine: &mut Machine, arg: &MemArg, size: usize) -> Result<(), String> {
    let value = machine.pop().u64();
    let at = address(machine, arg, size)?;
    machine.memory[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    Ok(())
}

/// Memory opcodes; false for others.
fn memory(machine: &mut Machine, operator: &O<'static>) -> Result<bool, String> {
    let value = match operator {
        O::I32Load { memarg } => Val::I32(load(machine, memarg, 4)? as u32),
        O::I64Load { memarg } => Val::I64(load(machine, memarg, 8)?),
        O::F32Load { memarg } => Val::F32(load(machine, memarg, 4)? as u32),
        O::F64Load { memarg } => Val::F64(load(machine, memarg, 8)?),
        O::I32Load8S { memarg } => Val::I32(load(machine, memarg, 1)? as i8 as u32),
        O::I32Load8U { memarg } => Val::I32(load(machine, memarg, 1)? as u32),
        O::I32Load16S { memarg } => Val::I32(load(machine, memarg, 2)? as i16 as u32),
        O::I32Load16U { memarg } => Val::I32(load(machine, memarg, 2)? as u32),
        O::I64Load8S { memarg } => Val::I64(load(machine, memarg, 1)? as i8 as u64),
        O::I64Load8U { memarg } => Val::I64(load(machine, memarg, 1)?),
        O::I64Load16S { memarg } => Val::I64(load(machine, memarg, 2)? as i16 as u64),
        O::I64Load16U { memarg } => Val::I64(load(machine, memarg, 2)?),
        O::I64Load32S { memarg } => Val::I64(load(machine, memarg, 4)? as i32 as u64),
        O::I64Load32U { memarg } => Val::I64(load(machine, memarg, 4)?),
        O::I32Store { memarg } | O::F32Store { memarg } | O::I64Store32 { memarg } => {
            return store(machine, memarg, 4).map(|()| true);
        }
        O::I64Store { memarg } | O::F64Store { memarg } => return store(machine, memarg, 8).map(|()| true),
        O::I32Store8 { memarg } | O::I64Store8 { memarg } => return store(machine, memarg, 1).map(|()| true),
        O::I32Store16 { memarg } | O::I64Store16 { memarg } => {
            return store(machine, memarg, 2).map(|()| true);
        }
        O::MemorySize { .. } => Val::I32((machine.memory.len() / 65536) as u32),
        O::MemoryGrow { .. } => {
            let (pages, by) = (machine.memory.len() / 65536, machine.pop().u32() as usize);
            if pages + by > 4096 {
                Val::I32(u32::MAX)
            } else {
                machine.memory.resize((pages + by) * 65536, 0);
                Val::I32(pages as u32)
            }
        }
        O::MemoryCopy { .. } => {
            let (size, from, to) =
                (machine.pop().u32() as usize, machine.pop().u32() as usize, machine.pop().u32() as usize);
            if from.max(to) + size > machine.memory.len() {
                return Err("out of bounds memory access".into());
            }
            machine.memory.copy_within(from..from + size, to);
            return Ok(true);
        }
        O::MemoryFill { .. } => {
            let (size, value, to) =
                (machine.pop().u32() as usize, machine.pop().u32(), machine.pop().u32() as usize);
            machine.memory.get_mut(to..to + size).ok_or("out of bounds memory access")?.fill(value as u8);
            return Ok(true);
        }
        _ => return Ok(false),
    };
    machine.push(value);
    Ok(true)
}

fn truth(value: bool) -> Val {
    Val::I32(u32::from(value))
}

fn f32(value: Val) -> f32 {
    f32::from_bits(value.u32())
}

fn f64(value: Val) -> f64 {
    f64::from_bits(value.u64())
}

fn of_f32(value: f32) -> Val {
    Val::F32(value.to_bits())
}

fn of_f64(value: f64) -> Val {
    Val::F64(value.to_bits())
}

fn unary(operator: &O<'static>, v: Val) -> Result<Option<Val>, String> {
    Ok(Some(match operator {
        O::I32Eqz => truth(v.u32() == 0),
        O::I64Eqz => truth(v.u64() == 0),
        O::I32Clz => Val::I32(v.u32().leading_zeros()),
        O::I32Ctz => Val::I32(v.u32().trailing_zeros()),
        O::I32Popcnt => Val::I32(v.u32().count_ones()),
        O::I64Clz => Val::I64(v.u64().leading_zeros().into()),
        O::I64Ctz => Val::I64(v.u64().trailing_zeros().into()),
        O::I64Popcnt => Val::I64(v.u64().count_ones().into()),
        O::I32WrapI64 => Val::I32(v.u64() as u32),
        O::I64ExtendI32S => Val::I64(v.u32() as i32 as u64),
        O::I64ExtendI32U => Val::I64(v.u32().into()),
        O::I32Extend8S => Val::I32(v.u32() as i8 as u32),
        O::I32Extend16S => Val::I32(v.u32() as i16 as u32),
        O::I64Extend8S => Val::I64(v.u64() as i8 as u64),
        O::I64Extend16S => Val::I64(v.u64() as i16 as u64),
        O::I64Extend32S => Val::I64(v.u64() as i32 as u64),
        O::I32ReinterpretF32 => Val::I32(v.u32()),
        O::I64ReinterpretF64 => Val::I64(v.u64()),
        O::F32ReinterpretI32 => Val::F32(v.u32()),
        O::F64ReinterpretI64 => Val::F64(v.u64()),
        O::F32DemoteF64 => of_f32(f64(v) as f32),
        O::F64PromoteF32 => of_f64(f32(v).into()),
        O::F32ConvertI32S => of_f32(v.u32() as i32 as f32),
        O::F32ConvertI32U => of_f32(v.u32() as f32),
        O::F32ConvertI64S => of_f32(v.u64() as i64 as f32),
        O::F32ConvertI64U => of_f32(v.u64() as f32),
        O::F64ConvertI32S => of_f64((v.u32() as i32).into()),
        O::F64ConvertI32U => of_f64(v.u32().into()),
        O::F64ConvertI64S => of_f64(v.u64() as i64 as f64),
        O::F64ConvertI64U => of_f64(v.u64() as f64),
        O::I32TruncF32S | O::I32TruncSatF32S => Val::I32(f32(v) as i32 as u32),
        O::I32TruncF32U | O::I32TruncSatF32U => Val::I32(f32(v) as u32),
        O::I32TruncF64S | O::I32TruncSatF64S => Val::I32(f64(v) as i32 as u32),
        O::I32TruncF64U | O::I32TruncSatF64U => Val::I32(f64(v) as u32),
        O::I64TruncF32S | O::I64TruncSatF32S => Val::I64(f32(v) as i64 as u64),
        O::I64TruncF32U | O::I64TruncSatF32U => Val::I64(f32(v) as u64),
        O::I64TruncF64S | O::I64TruncSatF64S => Val::I64(f64(v) as i64 as u64),
        O::I64TruncF64U | O::I64TruncSatF64U => Val::I64(f64(v) as u64),
        O::F32Abs => of_f32(f32(v).abs()),
        O::F32Neg => of_f32(-f32(v)),
        O::F32Ceil => of_f32(f32(v).ceil()),
        O::F32Floor => of_f32(f32(v).floor()),
        O::F32Trunc => of_f32(f32(v).trunc()),
        O::F32Sqrt => of_f32(f32(v).sqrt()),
        O::F64Abs => of_f64(f64(v).abs()),
        O::F64Neg => of_f64(-f64(v)),
        O::F64Ceil => of_f64(f64(v).ceil()),
        O::F64Floor => of_f64(f64(v).floor()),
        O::F64Trunc => of_f64(f64(v).trunc()),
        O::F64Sqrt => of_f64(f64(v).sqrt()),
        _ => return Ok(None),
    }))
}

fn binary(operator: &O<'static>, l: Val, r: Val) -> Result<Val, String> {
    let (a, b) = (l.u32(), r.u32());
    let (s, t) = (a as i32, b as i32);
    let (c, d) = (l.u64(), r.u64());
    let (u, w) = (c as i64, d as i64);
    let zero = || "integer divide by zero".to_owned();
    let overflow = || "integer overflow".to_owned();
    Ok(match operator {
        O::I32Eq => truth(a == b),
        O::I32Ne => truth(a != b),
        O::I32LtS => truth(s < t),
        O::I32LtU => truth(a < b),
        O::I32GtS => truth(s > t),
        O::I32GtU => truth(a > b),
        O::I32LeS => truth(s <= t),
        O::I32LeU => truth(a <= b),
        O::I32GeS => truth(s >= t),
        O::I32GeU => truth(a >= b),
        O::I64Eq => truth(c == d),
        O::I64Ne => truth(c != d),
        O::I64LtS => truth(u < w),
        O::I64LtU => truth(c < d),
        O::I64GtS => truth(u > w),
        O::I64GtU => truth(c > d),
        O::I64LeS => truth(u <= w),
        O::I64LeU => truth(c <= d),
        O::I64GeS => truth(u >= w),
        O::I64GeU => truth(c >= d),
        O::I32Add => Val::I32(a.wrapping_add(b)),
        O::I32Sub => Val::I32(a.wrapping_sub(b)),
        O::I32Mul => Val::I32(a.wrapping_mul(b)),
        O::I32DivS if b != 0 => Val::I32(s.checked_div(t).ok_or_else(overflow)? as u32),
        O::I32DivU => Val::I32(a.checked_div(b).ok_or_else(zero)?),
        O::I32RemS if b != 0 => Val::I32(s.wrapping_rem(t) as u32),
        O::I32RemU => Val::I32(a.checked_rem(b).ok_or_else(zero)?),
        O::I64DivS if d != 0 => Val::I64(u.checked_div(w).ok_or_else(overflow)? as u64),
        O::I64DivU => Val::I64(c.checked_div(d).ok_or_else(zero)?),
        O::I64RemS if d != 0 => Val::I64(u.wrapping_rem(w) as u64),
        O::I64RemU => Val::I64(c.checked_rem(d).ok_or_else(zero)?),
        O::I32DivS | O::I32RemS | O::I64DivS | O::I64RemS => return Err(zero()),
        O::I32And => Val::I32(a & b),
        O::I32Or => Val::I32(a | b),
        O::I32Xor => Val::I32(a ^ b),
        O::I32Shl => Val::I32(a.wrapping_shl(b)),
        O::I32ShrS => Val::I32(s.wrapping_shr(b) as u32),
        O::I32ShrU => Val::I32(a.wrapping_shr(b)),
        O::I32Rotl => Val::I32(a.rotate_left(b % 32)),
        O::I32Rotr => Val::I32(a.rotate_right(b % 32)),
        O::I64Add => Val::I64(c.wrapping_add(d)),
        O::I64Sub => Val::I64(c.wrapping_sub(d)),
        O::I64Mul => Val::I64(c.wrapping_mul(d)),
        O::I64And => Val::I64(c & d),
        O::I64Or => Val::I64(c | d),
        O::I64Xor => Val::I64(c ^ d),
        O::I64Shl => Val::I64(c.wrapping_shl(d as u32)),
        O::I64ShrS => Val::I64(u.wrapping_shr(d as u32) as u64),
        O::I64ShrU => Val::I64(c.wrapping_shr(d as u32)),
        O::I64Rotl => Val::I64(c.rotate_left((d % 64) as u32)),
        O::I64Rotr => Val::I64(c.rotate_right((d % 64) as u32)),
        O::F32Eq => truth(f32(l) == f32(r)),
        O::F32Ne => truth(f32(l) != f32(r)),
        O::F32Lt => truth(f32(l) < f32(r)),
        O::F32Gt => truth(f32(l) > f32(r)),
        O::F32Le => truth(f32(l) <= f32(r)),
        O::F32Ge => truth(f32(l) >= f32(r)),
        O::F64Eq => truth(f64(l) == f64(r)),
        O::F64Ne => truth(f64(l) != f64(r)),
        O::F64Lt => truth(f64(l) < f64(r)),
        O::F64Gt => truth(f64(l) > f64(r)),
        O::F64Le => truth(f64(l) <= f64(r)),
        O::F64Ge => truth(f64(l) >= f64(r)),
        O::F32Add => of_f32(f32(l) + f32(r)),
        O::F32Sub => of_f32(f32(l) - f32(r)),
        O::F32Mul => of_f32(f32(l) * f32(r)),
        O::F32Div => of_f32(f32(l) / f32(r)),
        O::F32Copysign => of_f32(f32(l).copysign(f32(r))),
        O::F64Add => of_f64(f64(l) + f64(r)),
        O::F64Sub => of_f64(f64(l) - f64(r)),
        O::F64Mul => of_f64(f64(l) * f64(r)),
        O::F64Div => of_f64(f64(l) / f64(r)),
        O::F64Copysign => of_f64(f64(l).copysign(f64(r))),
        O::F64Min => of_f64(f64(l).min(f64(r))),
        O::F64Max => of_f64(f64(l).max(f64(r))),
        other => return Err(format!("the test machine does not know {other:?}")),
    })
}
