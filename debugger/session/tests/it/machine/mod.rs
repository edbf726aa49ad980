//! A Wasm machine that is stepped opcode by opcode: what the debug lane's engine is to the session, small
//! enough for a test. It runs the real fixture modules, so that their real DWARF meets a real state.
//!
//! Integers, floats, memory, tables and calls as compilers emit them; no references, no SIMD.

mod host;
mod numeric;

use std::collections::HashMap;

use wasmdbg_control::ModulePc;
use wasmparser::{
    BlockType, ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload, TypeRef, ValType,
};

pub(crate) use host::Host;

/// A value; floats as their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Val {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
}

impl Val {
    fn zero(ty: ValType) -> Self {
        match ty {
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            _ => Self::I32(0),
        }
    }

    fn u32(self) -> u32 {
        match self {
            Self::I32(value) | Self::F32(value) => value,
            Self::I64(value) | Self::F64(value) => value as u32,
        }
    }

    fn u64(self) -> u64 {
        match self {
            Self::I32(value) | Self::F32(value) => u64::from(value),
            Self::I64(value) | Self::F64(value) => value,
        }
    }
}

struct Op {
    pc: ModulePc,
    operator: Operator<'static>,
    /// Index of the `end` (or `else`) that belongs to a block.
    end: usize,
    otherwise: Option<usize>,
}

struct Body {
    locals: Vec<ValType>,
    ops: Vec<Op>,
}

struct Label {
    /// Where a branch to it goes on.
    target: usize,
    height: usize,
    arity: usize,
}

/// An activation.
pub(crate) struct Activation {
    /// In the function index space.
    pub(crate) function: u32,
    next: usize,
    pub(crate) locals: Vec<Val>,
    pub(crate) operands: Vec<Val>,
    labels: Vec<Label>,
}

/// What one opcode did.
pub(crate) enum Ran {
    Went,
    /// The outermost activation returned this.
    Returned(Option<Val>),
}

pub(crate) struct Machine {
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Type index by function index.
    function_types: Vec<u32>,
    imports: Vec<String>,
    bodies: Vec<Body>,
    exports: HashMap<String, u32>,
    table: Vec<Option<u32>>,
    pub(crate) memory: Vec<u8>,
    pub(crate) globals: Vec<Val>,
    pub(crate) frames: Vec<Activation>,
    /// Activations below these belong to a call from the host.
    base: usize,
    pub(crate) host: Host,
}

impl Machine {
    pub(crate) fn new(wasm: &[u8], host: Host) -> Self {
        let wasm: &'static [u8] = Box::leak(wasm.to_vec().into_boxed_slice());
        let mut machine = Self {
            types: Vec::new(),
            function_types: Vec::new(),
            imports: Vec::new(),
            bodies: Vec::new(),
            exports: HashMap::new(),
            table: Vec::new(),
            memory: Vec::new(),
            globals: Vec::new(),
            frames: Vec::new(),
            base: 0,
            host,
        };
        for payload in Parser::new(0).parse_all(wasm) {
            machine.section(payload.expect("a module"));
        }
        machine
    }

    fn section(&mut self, payload: Payload<'static>) {
        match payload {
            Payload::TypeSection(reader) => {
                for ty in reader.into_iter_err_on_gc_types() {
                    let ty = ty.expect("a type");
                    self.types.push((ty.params().to_vec(), ty.results().to_vec()));
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    let import = import.expect("an import");
                    if let TypeRef::Func(ty) = import.ty {
                        self.function_types.push(ty);
                        self.imports.push(import.name.to_owned());
                    }
                }
            }
            Payload::FunctionSection(reader) => {
                self.function_types.extend(reader.into_iter().map(|ty| ty.expect("a type")));
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    let size = table.expect("a table").ty.initial;
                    self.table.resize(size as usize, None);
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    self.memory.resize(memory.expect("a memory").initial as usize * 65536, 0);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let value = self.constant(&global.expect("a global").init_expr);
                    self.globals.push(value);
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.expect("an export");
                    if export.kind == ExternalKind::Func {
                        self.exports.insert(export.name.to_owned(), export.index);
                    }
                }
            }
            Payload::ElementSection(reader) => {
                for element in reader {
                    let element = element.expect("elements");
                    let ElementKind::Active { offset_expr, .. } = element.kind else { continue };
                    let ElementItems::Functions(functions) = element.items else {
                        panic!("plain elements only")
                    };
                    let offset = self.constant(&offset_expr).u32() as usize;
                    for (index, function) in functions.into_iter().enumerate() {
                        self.table[offset + index] = Some(function.expect("a function"));
                    }
                }
            }
            Payload::DataSection(reader) => {
                for data in reader {
                    let data = data.expect("data");
                    if let wasmparser::DataKind::Active { offset_expr, .. } = data.kind {
                        let offset = self.constant(&offset_expr).u32() as usize;
                        self.memory[offset..offset + data.data.len()].copy_from_slice(data.data);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(decode(&body)),
            _ => {}
        }
    }

    fn constant(&self, expression: &wasmparser::ConstExpr<'_>) -> Val {
        match expression.get_operators_reader().read().expect("a constant") {
            Operator::I32Const { value } => Val::I32(value as u32),
            Operator::I64Const { value } => Val::I64(value as u64),
            Operator::F32Const { value } => Val::F32(value.bits()),
            Operator::F64Const { value } => Val::F64(value.bits()),
            Operator::GlobalGet { global_index } => self.globals[global_index as usize],
            other => panic!("{other:?} is no constant"),
        }
    }

    pub(crate) fn has_export(&self, name: &str) -> bool {
        self.exports.contains_key(name)
    }

    /// Begins a call of an export; run it by [`Machine::step`].
    pub(crate) fn begin(&mut self, name: &str, arguments: &[Val]) {
        let function = self.exports[name];
        self.enter(function, arguments.to_vec());
    }

    /// Runs an export to its end.
    pub(crate) fn call(&mut self, name: &str, arguments: &[Val]) -> Result<Option<Val>, String> {
        let base = std::mem::replace(&mut self.base, self.frames.len());
        self.begin(name, arguments);
        let result = loop {
            match self.step() {
                Ok(Ran::Went) => {}
                Ok(Ran::Returned(value)) => break Ok(value),
                Err(trap) => break Err(trap),
            }
        };
        self.base = base;
        result
    }

    /// The opcode that activation `frame` (0 innermost) runs next.
    pub(crate) fn pc(&self, frame: usize) -> ModulePc {
        let activation = &self.frames[self.frames.len() - 1 - frame];
        self.body(activation.function).ops[activation.next].pc
    }

    /// All opcodes of the module, for breakpoints.
    pub(crate) fn pcs(&self) -> impl Iterator<Item = ModulePc> {
        self.bodies.iter().flat_map(|body| body.ops.iter().map(|op| op.pc))
    }

    fn body(&self, function: u32) -> &Body {
        &self.bodies[function as usize - self.imports.len()]
    }

    fn enter(&mut self, function: u32, mut locals: Vec<Val>) {
        assert!(self.frames.len() < 10_000, "call stack exhausted");
        locals.extend(self.body(function).locals.iter().map(|ty| Val::zero(*ty)));
        let arity = self.types[self.function_types[function as usize] as usize].1.len();
        let target = self.body(function).ops.len();
        let labels = vec![Label { target, height: 0, arity }];
        self.frames.push(Activation { function, next: 0, locals, operands: Vec::new(), labels });
    }

    fn top(&mut self) -> &mut Activation {
        self.frames.last_mut().expect("an activation")
    }

    fn pop(&mut self) -> Val {
        self.top().operands.pop().expect("an operand")
    }

    fn push(&mut self, value: Val) {
        self.top().operands.push(value);
    }

    /// Runs one opcode of the innermost activation.
    pub(crate) fn step(&mut self) -> Result<Ran, String> {
        let top = self.frames.last().expect("an activation");
        let (function, at) = (top.function, top.next);
        let op = &self.body(function).ops[at];
        let (operator, end, otherwise) = (op.operator.clone(), op.end, op.otherwise);
        let last = at + 1 == self.body(function).ops.len();
        self.top().next = at + 1;
        match operator {
            Operator::Unreachable => return Err("unreachable".into()),
            Operator::Nop => {}
            Operator::Block { blockty } => self.label(end + 1, blockty, false),
            Operator::Loop { blockty } => self.label(at, blockty, true),
            Operator::If { blockty } => {
                let condition = self.pop().u32();
                match (condition, otherwise) {
                    (0, None) => self.top().next = end + 1,
                    (0, Some(otherwise)) => {
                        self.label(end + 1, blockty, false);
                        self.top().next = otherwise + 1;
                    }
                    _ => self.label(end + 1, blockty, false),
                }
            }
            // The end of the first branch.
            Operator::Else => {
                self.top().labels.pop();
                self.top().next = end + 1;
            }
            Operator::End if last => return Ok(self.leave()),
            Operator::End => {
                self.top().labels.pop();
            }
            Operator::Br { relative_depth } => return Ok(self.branch(relative_depth)),
            Operator::BrIf { relative_depth } => {
                if self.pop().u32() != 0 {
                    return Ok(self.branch(relative_depth));
                }
            }
            Operator::BrTable { targets } => {
                let index = self.pop().u32();
                let depth = targets.targets().nth(index as usize).map(|depth| depth.expect("a depth"));
                return Ok(self.branch(depth.unwrap_or_else(|| targets.default())));
            }
            Operator::Return => return Ok(self.leave()),
            Operator::Call { function_index } => self.invoke(function_index)?,
            Operator::CallIndirect { type_index, .. } => {
                let index = self.pop().u32() as usize;
                let function = self.table.get(index).copied().flatten().ok_or("undefined element")?;
                let (wanted, found) = (type_index, self.function_types[function as usize]);
                if self.types[wanted as usize] != self.types[found as usize] {
                    return Err("indirect call type mismatch".into());
                }
                self.invoke(function)?;
            }
            Operator::Drop => {
                self.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let condition = self.pop().u32();
                let (second, first) = (self.pop(), self.pop());
                self.push(if condition != 0 { first } else { second });
            }
            Operator::LocalGet { local_index } => {
                let value = self.top().locals[local_index as usize];
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                self.top().locals[local_index as usize] = value;
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                self.push(value);
                self.top().locals[local_index as usize] = value;
            }
            Operator::GlobalGet { global_index } => self.push(self.globals[global_index as usize]),
            Operator::GlobalSet { global_index } => self.globals[global_index as usize] = self.pop(),
            other => numeric::run(self, &other)?,
        }
        Ok(Ran::Went)
    }

    fn label(&mut self, target: usize, ty: BlockType, is_loop: bool) {
        let (params, results) = match ty {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => {
                let (params, results) = &self.types[index as usize];
                (params.len(), results.len())
            }
        };
        let top = self.top();
        let height = top.operands.len() - params;
        top.labels.push(Label { target, height, arity: if is_loop { params } else { results } });
    }

    fn branch(&mut self, depth: u32) -> Ran {
        let top = self.top();
        let keep = top.labels.len() - 1 - depth as usize;
        if keep == 0 {
            return self.leave();
        }
        let label = &top.labels[keep];
        let (target, height, arity) = (label.target, label.height, label.arity);
        let from = top.operands.len() - arity;
        let values = top.operands.split_off(from);
        top.operands.truncate(height);
        top.operands.extend(values);
        top.labels.truncate(keep);
        // A branch to a loop runs the `loop` opcode again, which makes its label again.
        top.next = target;
        Ran::Went
    }

    fn leave(&mut self) -> Ran {
        let mut done = self.frames.pop().expect("an activation");
        let arity = done.labels[0].arity;
        let results = done.operands.split_off(done.operands.len() - arity);
        if self.frames.len() == self.base {
            return Ran::Returned(results.first().copied());
        }
        self.top().operands.extend(results);
        Ran::Went
    }

    fn invoke(&mut self, function: u32) -> Result<(), String> {
        let (params, results) = self.types[self.function_types[function as usize] as usize].clone();
        let top = self.top();
        let from = top.operands.len() - params.len();
        let arguments = top.operands.split_off(from);
        if let Some(name) = self.imports.get(function as usize).cloned() {
            let status = host::call(self, &name, &arguments)?;
            if !results.is_empty() {
                self.push(Val::I32(status));
            }
            return Ok(());
        }
        if self.frames.len() > 5000 {
            return Err("call stack exhausted".into());
        }
        self.enter(function, arguments);
        Ok(())
    }
}

fn decode(body: &wasmparser::FunctionBody<'static>) -> Body {
    let mut locals = Vec::new();
    for run in body.get_locals_reader().expect("locals") {
        let (count, ty) = run.expect("a local");
        locals.extend(std::iter::repeat_n(ty, count as usize));
    }
    let mut ops: Vec<Op> = Vec::new();
    let mut open = Vec::new();
    for read in body.get_operators_reader().expect("code").into_iter_with_offsets() {
        let (operator, offset) = read.expect("an opcode");
        let at = ops.len();
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => open.push(at),
            Operator::Else => ops[*open.last().expect("an if")].otherwise = Some(at),
            Operator::End => {
                if let Some(begin) = open.pop() {
                    ops[begin].end = at;
                    if let Some(otherwise) = ops[begin].otherwise {
                        ops[otherwise].end = at;
                    }
                }
            }
            _ => {}
        }
        ops.push(Op { pc: ModulePc::at(offset), operator, end: 0, otherwise: None });
    }
    Body { locals, ops }
}
