//! Rewrites a module so that Wasmtime stores the fuel it has counted in small steps.
//!
//! Wasmtime keeps the count of a running function in a register. It writes the count to the store
//! only before a call, a return and an `unreachable`, and when the fuel is used up. A guest that is
//! interrupted inside a loop, or that divides by zero, loses all fuel since the last write. So that
//! at most [`MAX_UNCOUNTED_FUEL`] is lost, metered modules get one more function, which does
//! nothing, and call it before more than that is at stake: a call makes Wasmtime write the count.
//!
//! # Where the calls are
//!
//! Each function that needs it gets a local, the *weight*: an upper bound of the fuel that was used
//! since the count was last written, as of the last check. A *check* adds to the weight what may have
//! been used since the check before it, and calls the added function where the sum exceeds
//! [`MAX_WEIGHT`]. Checks are placed
//!
//! * at the head of each loop, for the most expensive path that leads to it;
//! * before an operator that some path reaches with more than [`MAX_PATH`] units since its last check.
//!
//! WebAssembly's control flow is structured, and a loop's head is the only target of a branch
//! backwards. One pass therefore knows the most expensive path to each operator, see [`Body`]. After
//! bulk operators (`memory.fill`), whose fuel depends on a length, the added function is called directly.
//!
//! # What it costs
//!
//! The operators of a check are free, so that a call uses the fuel that its own operators use, and
//! two units for each call of the added function: the call, and the function's entry. They are free
//! because [`operator_cost`] declares the operators of which checks consist ([`is_free`]) to cost
//! nothing. Those of the guest are paid for by a `nop` before each, which costs the unit instead and
//! generates no code; the guest's own `nop`s, which were free, are removed.
//!
//! The added function is the last one, so that no index changes; custom sections are copied. The
//! caller validates modules first. Where one was not, the rewriter fails or gives bytes that the
//! engine refuses; it does not panic.

use wasmparser::{
    Catch, CompositeInnerType, FunctionBody, Operator, Parser, Payload, SubType, TypeRef,
};
use wasmtime::OperatorCost;

/// The most fuel that is missing from a count of a call that did not return: 4,096 units.
///
/// The fuel of a call that returns is exact. Where a call traps or is interrupted, the fuel that is
/// reported is a lower bound, and at most this much lower than what the operators used that ran. An
/// operator on a range of memory or of a table that is interrupted or traps before its work does not
/// count. A few thousand units are some microseconds; a smaller bound would slow loops down.
pub const MAX_UNCOUNTED_FUEL: u64 = MAX_WEIGHT + MAX_PATH;

/// Up to which weight a check does not write the count. Three times [`MAX_PATH`], so that a loop with
/// large and small branches, an interpreter's for example, calls the added function at most once
/// every few laps although its weight is that of the largest branch.
const MAX_WEIGHT: u64 = 3 * MAX_PATH;

/// The most fuel a path may use without a check. A check has some ten operators, so that those of
/// straight-line code are below one per cent.
const MAX_PATH: u64 = 1024;

/// Up to which constant length a bulk operator is counted like any other. Wasmtime generates code of its
/// own for copies up to this length, which a call would slow down.
const MAX_SHORT_BULK: u64 = 128;

/// The most bytes a rewritten module may have for each of its own, beside [`SPARE_BYTES`]. A check takes
/// about 30 bytes. Real modules grow by a tenth; one of nothing but empty loops would by ten times.
const MAX_GROWTH: usize = 4;

/// How much any module may grow, so that short ones may consist of loops.
const SPARE_BYTES: usize = 1 << 20;

/// What Wasmtime's operators cost unless it is configured otherwise.
static DEFAULT_COST: OperatorCost = OperatorCost::new();

/// What operators cost in rewritten modules.
pub(crate) fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.Nop = 1;
    // Those of `is_free`.
    cost.LocalGet = 0;
    cost.LocalTee = 0;
    cost.I64Const = 0;
    cost.I64Add = 0;
    cost.I64GtU = 0;
    cost.If = 0;
    cost
}

/// Whether checks consist of such operators, so that the guest's are paid for by a `nop` each. Checks
/// use 64-bit numbers because most guests' own are of 32 bits: fewer `nop`s are needed.
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

/// The rewritten module.
///
/// # Errors
///
/// Why it cannot be rewritten, as a fragment: the bytes are malformed, have operators of proposals
/// that the rewriter does not know, or would grow too much.
pub(crate) fn rewrite(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let most = wasm.len().saturating_mul(MAX_GROWTH).saturating_add(SPARE_BYTES);
    let mut module = Module::default();
    let mut output = wasm.get(..HEADER).ok_or("it ends inside its header")?.to_vec();
    let mut code = Vec::new();
    let mut bodies = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| error.to_string())?;
        if let Payload::CodeSectionEntry(body) = &payload {
            module.rewrite_body(wasm, body, &mut code)?;
            bodies -= 1;
            if bodies == 0 {
                // The added function: no locals, and only its end.
                code.extend([2, 0, 0x0b]);
                push_section(&mut output, CODE_SECTION, &code)?;
            }
        }
        if output.len().saturating_add(code.len()) > most {
            return Err(format!(
                "with the code that counts its fuel it has more than {MAX_GROWTH} times its {} bytes",
                wasm.len()
            ));
        }
        let Some((id, range)) = payload.as_section() else { continue };
        let section = wasm.get(range).ok_or("a section ends outside the module")?;
        match payload {
            Payload::TypeSection(types) => {
                let (count, groups) = (types.count(), after_count(section)?);
                for group in types {
                    let group = group.map_err(|error| error.to_string())?;
                    group.types().for_each(|ty| module.add_type(ty));
                }
                push_section(&mut output, id, &module.with_added_type(count, groups)?)?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| error.to_string())?;
                    let is_function = matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                    module.imported_functions += u32::from(is_function);
                }
                push_section(&mut output, id, section)?;
            }
            Payload::FunctionSection(functions) if functions.count() > 0 => {
                let mut with_added = Vec::new();
                push_u32(&mut with_added, functions.count().saturating_add(1));
                with_added.extend(after_count(section)?);
                push_u32(&mut with_added, module.added_type);
                push_section(&mut output, id, &with_added)?;
                for function in functions {
                    module.functions.push(function.map_err(|error| error.to_string())?);
                }
            }
            Payload::CodeSectionStart { count, .. } if count > 0 => {
                bodies = count;
                push_u32(&mut code, count.saturating_add(1));
            }
            _ => push_section(&mut output, id, section)?,
        }
    }
    Ok(output)
}

/// How many bytes a module's header has.
const HEADER: usize = 8;

const CODE_SECTION: u8 = 10;

/// What is known of a module before its code.
#[derive(Default)]
struct Module {
    /// How many parameters each type's functions have; none where it is not a function type.
    parameters: Vec<u32>,
    /// The type of functions without parameters and results.
    empty_type: Option<u32>,
    /// The type of the added function.
    added_type: u32,
    imported_functions: u32,
    /// The types of the functions that have bodies.
    functions: Vec<u32>,
    /// How many of them were rewritten.
    rewritten: usize,
}

impl Module {
    fn add_type(&mut self, ty: &SubType) {
        let mut parameters = 0;
        if let CompositeInnerType::Func(function) = &ty.composite_type.inner {
            parameters = u32::try_from(function.params().len()).unwrap_or(u32::MAX);
            let is_plain = ty.is_final && ty.supertype_idx.is_none() && !ty.composite_type.shared;
            if is_plain && function.params().is_empty() && function.results().is_empty() {
                self.empty_type = self.empty_type.or(u32::try_from(self.parameters.len()).ok());
            }
        }
        self.parameters.push(parameters);
    }

    /// The type section, with the added function's type where there is none that fits.
    fn with_added_type(&mut self, count: u32, groups: &[u8]) -> Result<Vec<u8>, String> {
        let mut section = Vec::new();
        push_u32(&mut section, count.saturating_add(u32::from(self.empty_type.is_none())));
        section.extend(groups);
        self.added_type = match self.empty_type {
            Some(found) => found,
            None => {
                section.extend([0x60, 0, 0]);
                u32::try_from(self.parameters.len()).map_err(|_| "it has too many types")?
            }
        };
        Ok(section)
    }

    fn rewrite_body(
        &mut self,
        wasm: &[u8],
        body: &FunctionBody<'_>,
        code: &mut Vec<u8>,
    ) -> Result<(), String> {
        let wrong = |error: wasmparser::BinaryReaderError| error.to_string();
        let ty = self.functions.get(self.rewritten).ok_or("a function has no type")?;
        self.rewritten += 1;
        let parameters = self.parameters.get(*ty as usize).ok_or("a function's type is missing")?;
        let added_function = u32::try_from(self.functions.len())
            .ok()
            .and_then(|functions| functions.checked_add(self.imported_functions))
            .ok_or("it has too many functions")?;

        let mut locals = body.get_locals_reader().map_err(wrong)?;
        let (groups, groups_start) = (locals.get_count(), locals.original_position());
        let mut weight_local = *parameters;
        for _ in 0..groups {
            let (count, _) = locals.read().map_err(wrong)?;
            weight_local =
                weight_local.checked_add(count).ok_or("a function has too many locals")?;
        }
        let groups_end = locals.original_position();
        let groups_bytes = wasm.get(groups_start..groups_end).ok_or("locals lie outside")?;

        let mut rewritten = Body::new(wasm, groups_end, added_function, weight_local);
        let mut operators = body.get_operators_reader().map_err(wrong)?;
        while !operators.eof() {
            let (operator, start) = operators.read_with_offset().map_err(wrong)?;
            rewritten.operator(&operator, start, operators.original_position())?;
        }
        let (instructions, has_checks) = rewritten.finish(operators.original_position())?;

        let mut start = Vec::with_capacity(groups_bytes.len() + 8);
        push_u32(&mut start, groups.saturating_add(u32::from(has_checks)));
        start.extend(groups_bytes);
        if has_checks {
            // One more local, of 64 bits.
            start.extend([1, 0x7e]);
        }
        push_length(code, start.len() + instructions.len())?;
        code.extend(start);
        code.extend(instructions);
        Ok(())
    }
}

/// A function's body on its way through the rewriter.
///
/// `path` is the invariant's static half: at each operator, the fuel that was used and not yet written
/// to the store is at most the weight (a local, at run time) plus `path`. It is the maximum over all
/// paths that lead there, and `None` where none does: Wasmtime does not count there either.
struct Body<'a> {
    wasm: &'a [u8],
    /// Up to where `wasm` was copied.
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

/// A control structure that is open.
enum Frame {
    /// The most expensive path to its head, and where that stands in the output.
    Loop { path: Option<u64>, place: Option<usize> },
    /// The most expensive path that branches to its end.
    Block { path: Option<u64> },
    /// Also the path by which the other branch begins.
    If { path: Option<u64>, other: Option<u64> },
}

impl<'a> Body<'a> {
    fn new(wasm: &'a [u8], start: usize, added_function: u32, weight_local: u32) -> Self {
        Self {
            wasm,
            copied: start,
            output: Vec::new(),
            added_function,
            weight_local,
            has_checks: false,
            // Entering a function costs a unit.
            path: Some(1),
            frames: vec![Frame::Block { path: None }],
            constant: None,
        }
    }

    /// Reads the operator that lies at `start..end`.
    fn operator(
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
            let place = self.check();
            self.set_weight(place, path)?;
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
                self.frames.push(Frame::If { path: None, other: self.path });
            }
            Operator::Else => match self.frames.pop() {
                Some(Frame::If { path, other }) => {
                    self.frames.push(Frame::Block { path: path.max(self.path) });
                    self.path = other;
                }
                _ => return Err("an `else` stands outside an `if`".to_owned()),
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
                    "it uses exceptions or stack switching of a kind whose fuel cannot be counted"
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

    /// The instructions of the body that ends at `end`, and whether they need the local.
    fn finish(mut self, end: usize) -> Result<(Vec<u8>, bool), String> {
        self.copy_to(end)?;
        Ok((self.output, self.has_checks))
    }

    fn enter_loop(&mut self, end: usize) -> Result<(), String> {
        let path = self.path;
        // Code that cannot be reached generates none.
        let place = if path.is_some() {
            self.copy_to(end)?;
            Some(self.check())
        } else {
            None
        };
        self.frames.push(Frame::Loop { path, place });
        self.path = path.map(|_| 0);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        match self.frames.pop().ok_or("an `end` stands outside a block")? {
            // No path comes from elsewhere to a loop's end.
            Frame::Loop { path, place } => {
                if let Some(place) = place {
                    self.set_weight(place, path.unwrap_or(0))?;
                }
            }
            Frame::Block { path } => self.path = self.path.max(path),
            Frame::If { path, other } => self.path = self.path.max(path).max(other),
        }
        Ok(())
    }

    /// Notes a branch to the label at `depth`.
    fn branch(&mut self, depth: u32, by: Option<u64>) -> Result<(), String> {
        let at = self.frames.len().checked_sub(1).and_then(|last| last.checked_sub(depth as usize));
        let frame = at.and_then(|at| self.frames.get_mut(at)).ok_or("a branch has no target")?;
        let (Frame::Loop { path, .. } | Frame::Block { path } | Frame::If { path, .. }) = frame;
        *path = (*path).max(by);
        Ok(())
    }

    /// Writes a check; says where its weight is to be written.
    fn check(&mut self) -> usize {
        self.has_checks = true;
        let local = self.weight_local;
        self.output.push(LOCAL_GET);
        push_u32(&mut self.output, local);
        self.output.push(I64_CONST);
        let place = self.output.len();
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
        place
    }

    fn set_weight(&mut self, place: usize, weight: u64) -> Result<(), String> {
        let bytes = self.output.get_mut(place..place + 2).ok_or("a weight has no place")?;
        bytes.copy_from_slice(&short_constant(weight));
        Ok(())
    }

    fn call_added_function(&mut self) {
        self.output.push(CALL);
        push_u32(&mut self.output, self.added_function);
    }

    /// Copies what lies before `at` and was not copied yet.
    fn copy_to(&mut self, at: usize) -> Result<(), String> {
        let bytes =
            self.wasm.get(self.copied..at).ok_or("an operator lies outside its function")?;
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

/// Whether the operator costs a unit for each byte or element besides, by its last operand.
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

/// Whether the operator moves control in a way that [`Body`] does not follow. No engine of ours accepts them.
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

/// A weight in two bytes of signed LEB128, which reach up to 8,191.
fn short_constant(weight: u64) -> [u8; 2] {
    const { assert!(MAX_WEIGHT < 1 << 13 && MAX_PATH < 1 << 13) };
    let [low, high, ..] = (weight << 1).to_le_bytes();
    // Shifted by one, the upper six bits lie in a byte of their own.
    [low >> 1 | 0x80, high & 0x3f]
}

/// Appends `value` as unsigned LEB128.
fn push_u32(bytes: &mut Vec<u8>, mut value: u32) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) -> Result<(), String> {
    let length = u32::try_from(length)
        .map_err(|_| "with the code that counts its fuel it has more than 4 GiB")?;
    push_u32(bytes, length);
    Ok(())
}

fn push_section(module: &mut Vec<u8>, id: u8, content: &[u8]) -> Result<(), String> {
    module.push(id);
    push_length(module, content.len())?;
    module.extend(content);
    Ok(())
}

/// What follows the count with which a section begins.
fn after_count(section: &[u8]) -> Result<&[u8], String> {
    let end = section.iter().position(|byte| byte & 0x80 == 0);
    end.and_then(|end| section.get(end + 1..)).ok_or_else(|| "a section has no count".to_owned())
}

#[cfg(test)]
mod tests;
