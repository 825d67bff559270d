//! Rewrites the body of a function: decides where checks are needed and generates them.

use super::{MAX_PATH, MAX_SHORT_BULK, MAX_WEIGHT, push_u32};
use wasmparser::{Catch, Operator};
use wasmtime::OperatorCost;

/// Wasmtime's default costs of operators.
static DEFAULT_COST: OperatorCost = OperatorCost::new();

/// The costs of operators in rewritten modules.
pub(crate) fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.Nop = 1;
    // The operators of `is_free`.
    cost.LocalGet = 0;
    cost.LocalTee = 0;
    cost.I64Const = 0;
    cost.I64Add = 0;
    cost.I64GtU = 0;
    cost.If = 0;
    cost
}

/// Whether checks use this kind of operator. Where the guest uses it, a `nop` carries its cost. Checks use 64-bit integers
/// because most guests use 32-bit ones, and then need fewer `nop`s.
fn is_free(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::LocalGet { .. }
            | Operator::LocalTee { .. }
            | Operator::I64Const { .. }
            | Operator::I64Add
            | Operator::I64GtU
            | Operator::If { .. }
    )
}

/// A function's body while it is rewritten.
///
/// The invariant: at each operator, the fuel that was used and not yet written to the store is at most the
/// weight, which is a local at run time, plus `path`. `path` is the maximum over all paths from the last
/// check to the operator. It is `None` in unreachable code, which Wasmtime does not compile.
pub(super) struct Body<'a> {
    wasm: &'a [u8],
    /// The end of the part of `wasm` that was copied.
    copied: usize,
    output: Vec<u8>,
    added_function: u32,
    weight_local: u32,
    has_checks: bool,
    path: Option<u64>,
    frames: Vec<Frame>,
    /// The value of the constant that the last operator pushed.
    constant: Option<u64>,
}

/// An open control structure.
enum Frame {
    /// The most expensive path to its header, and the position of its check's weight in the output. An unreachable loop
    /// has no check.
    Loop { path: Option<u64>, weight: Option<usize> },
    /// The most expensive path that branches to its end.
    Block { path: Option<u64> },
    /// Like a block, with the path to its condition, from which the other branch starts.
    If { path: Option<u64>, condition: Option<u64> },
}

impl<'a> Body<'a> {
    pub(super) fn new(
        wasm: &'a [u8],
        start: usize,
        added_function: u32,
        weight_local: u32,
    ) -> Self {
        Self {
            wasm,
            copied: start,
            output: Vec::new(),
            added_function,
            weight_local,
            has_checks: false,
            // Entering a function costs one unit.
            path: Some(1),
            frames: vec![Frame::Block { path: None }],
            constant: None,
        }
    }

    /// Copies the operator at `start..end`, and inserts a check before it if one is needed.
    pub(super) fn operator(
        &mut self,
        operator: &Operator<'_>,
        start: usize,
        end: usize,
    ) -> Result<(), String> {
        let bulk = is_bulk(operator);
        let short = self.constant.take().filter(|length| bulk && *length <= MAX_SHORT_BULK);
        let cost = u64::try_from(DEFAULT_COST.cost(operator)).unwrap_or(0) + short.unwrap_or(0);
        if let Some(path) = self.path
            && path + cost > MAX_PATH
        {
            self.copy_to(start)?;
            let position = self.check();
            self.set_weight(position, path)?;
            self.path = Some(0);
        }
        self.path = self.path.map(|path| path + cost);
        if is_free(operator) {
            self.copy_to(start)?;
            self.output.push(NOP);
        }
        match operator {
            Operator::Nop => {
                self.copy_to(start)?;
                self.copied = end;
            }
            Operator::I32Const { value } => self.constant = Some(u64::from(value.cast_unsigned())),
            Operator::Block { .. } => self.frames.push(Frame::Block { path: None }),
            Operator::Loop { .. } => self.enter_loop(end)?,
            Operator::If { .. } => {
                self.frames.push(Frame::If { path: None, condition: self.path });
            }
            Operator::Else => match self.frames.pop() {
                Some(Frame::If { path, condition }) => {
                    self.frames.push(Frame::Block { path: path.max(self.path) });
                    self.path = condition;
                }
                _ => return Err("an `else` is outside an `if`".to_owned()),
            },
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = catch;
                    // Wasmtime writes the count where it throws, and reads it where it catches.
                    self.branch(*label, Some(0))?;
                }
                self.frames.push(Frame::Block { path: None });
            }
            Operator::End => self.end()?,
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth, self.path)?;
                self.path = None;
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. }
            | Operator::BrOnCastDescEq { relative_depth, .. }
            | Operator::BrOnCastDescEqFail { relative_depth, .. } => {
                self.branch(*relative_depth, self.path)?;
            }
            Operator::BrTable { targets } => {
                self.branch(targets.default(), self.path)?;
                for target in targets.targets() {
                    self.branch(target.map_err(|error| error.to_string())?, self.path)?;
                }
                self.path = None;
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => self.path = None,
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.path = self.path.map(|_| 0);
            }
            other if is_unknown_control(other) => {
                return Err(
                    "it uses operators of exceptions or stack switching whose fuel cannot be counted"
                        .to_owned(),
                );
            }
            _ if bulk && short.is_none() => {
                self.copy_to(end)?;
                self.call_added_function();
                self.path = self.path.map(|_| 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the operators of the body, which ends at `end`, and whether they use the added local.
    pub(super) fn finish(mut self, end: usize) -> Result<(Vec<u8>, bool), String> {
        self.copy_to(end)?;
        Ok((self.output, self.has_checks))
    }

    fn enter_loop(&mut self, end: usize) -> Result<(), String> {
        let path = self.path;
        // Unreachable code is not compiled.
        let weight = if path.is_some() {
            self.copy_to(end)?;
            Some(self.check())
        } else {
            None
        };
        self.frames.push(Frame::Loop { path, weight });
        self.path = path.map(|_| 0);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        match self.frames.pop().ok_or("an `end` is outside a block")? {
            // Branches to a loop lead to its start: only the body's last operator leads to its end.
            Frame::Loop { path, weight } => {
                if let Some(position) = weight {
                    self.set_weight(position, path.unwrap_or(0))?;
                }
            }
            Frame::Block { path } => self.path = self.path.max(path),
            Frame::If { path, condition } => self.path = self.path.max(path).max(condition),
        }
        Ok(())
    }

    /// Records a branch to the label at `depth`.
    fn branch(&mut self, depth: u32, by: Option<u64>) -> Result<(), String> {
        let at = self.frames.len().checked_sub(1).and_then(|last| last.checked_sub(depth as usize));
        let frame = at.and_then(|at| self.frames.get_mut(at)).ok_or("a branch has no target")?;
        let (Frame::Loop { path, .. } | Frame::Block { path } | Frame::If { path, .. }) = frame;
        *path = (*path).max(by);
        Ok(())
    }

    /// Appends a check. Returns the position of its weight, for [`set_weight`](Self::set_weight).
    fn check(&mut self) -> usize {
        self.has_checks = true;
        let local = self.weight_local;
        self.output.push(LOCAL_GET);
        push_u32(&mut self.output, local);
        self.output.push(I64_CONST);
        let position = self.output.len();
        self.output.extend([0; 2]);
        self.output.extend([I64_ADD, LOCAL_TEE]);
        push_u32(&mut self.output, local);
        self.output.push(I64_CONST);
        self.output.extend(short_constant(MAX_WEIGHT));
        self.output.extend([I64_GT_U, IF, NO_RESULT]);
        self.call_added_function();
        self.output.extend([I64_CONST, 0, LOCAL_TEE]);
        push_u32(&mut self.output, local);
        self.output.extend([DROP, END]);
        position
    }

    fn set_weight(&mut self, position: usize, weight: u64) -> Result<(), String> {
        let bytes = self.output.get_mut(position..position + 2).ok_or("a check has no weight")?;
        bytes.copy_from_slice(&short_constant(weight));
        Ok(())
    }

    fn call_added_function(&mut self) {
        self.output.push(CALL);
        push_u32(&mut self.output, self.added_function);
    }

    /// Copies the bytes before `at` that have not been copied yet.
    fn copy_to(&mut self, at: usize) -> Result<(), String> {
        let bytes = self.wasm.get(self.copied..at).ok_or("an operator is outside its function")?;
        self.output.extend(bytes);
        self.copied = at;
        Ok(())
    }
}

const NOP: u8 = 0x01;
const IF: u8 = 0x04;
const END: u8 = 0x0b;
const CALL: u8 = 0x10;
const DROP: u8 = 0x1a;
const LOCAL_GET: u8 = 0x20;
const LOCAL_TEE: u8 = 0x22;
const NO_RESULT: u8 = 0x40;
const I64_CONST: u8 = 0x42;
const I64_GT_U: u8 = 0x56;
const I64_ADD: u8 = 0x7c;

/// Whether the operator costs one more unit for each byte or element; its last operand is their number.
fn is_bulk(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. }
            | Operator::ArrayNew { .. }
            | Operator::ArrayNewDefault { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. }
    )
}

/// Whether the operator transfers control in a way that [`Body`] does not support. The engines do not accept
/// these operators.
fn is_unknown_control(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Rethrow { .. }
            | Operator::Delegate { .. }
            | Operator::ContNew { .. }
            | Operator::ContBind { .. }
            | Operator::Suspend { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::ResumeThrowRef { .. }
            | Operator::Switch { .. }
    )
}

/// A weight as signed LEB128 of two bytes, which hold up to 8,191.
fn short_constant(weight: u64) -> [u8; 2] {
    const { assert!(MAX_WEIGHT < 1 << 13 && MAX_PATH < 1 << 13) };
    let [low, high, ..] = (weight << 1).to_le_bytes();
    // The shift puts the lower seven bits into one byte and the upper six into the next.
    [low >> 1 | 0x80, high & 0x3f]
}
