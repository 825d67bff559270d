//! Rewrites a module so that Wasmtime stores the fuel it has counted in small steps.
//!
//! Wasmtime keeps the count of a running function in a register. It writes the count to the store
//! only before a call, a return and an `unreachable`, and when the fuel is used up. A guest that is
//! interrupted inside a loop, or that divides by zero, loses all fuel since the last write. Metered
//! modules therefore get an additional, empty function. They call it before more than
//! [`MAX_UNCOUNTED_FUEL`] could be lost, because a call makes Wasmtime write the count.
//!
//! # Where the calls are
//!
//! Each function that needs it gets a local, the *weight*: an upper bound on the fuel that was used
//! since the count was last written, as of the last check. A *check* adds to the weight the fuel of the
//! most expensive path that leads to it, and calls the added function where the sum exceeds
//! [`MAX_WEIGHT`]. Checks are placed
//!
//! * at each loop header, for the path into the loop and for those back to its start;
//! * before an operator that some path would reach with more than [`MAX_PATH`] units since its last check.
//!
//! WebAssembly's control flow is structured, and only loop headers are targets of backward branches.
//! One pass therefore knows the most expensive path to each operator, see [`Body`]. After
//! bulk operators (`memory.fill`), whose fuel depends on a length, the added function is called directly.
//! The guest's own calls need no check, because they write the count.
//!
//! # Fuel
//!
//! A call uses the fuel of its own operators, and two units for each call to the added function: for the
//! call and for the function's entry. A loop whose iterations use 10 units calls it once in 700
//! iterations. The operators of checks are free: [`operator_cost`] assigns a cost of zero to the kinds
//! of operators that checks consist of. Where the guest has one of these, the rewriter places a `nop`
//! before it, which costs the unit instead and generates no code. The guest's own `nop`s, which were
//! free, are removed.
//!
//! # Time
//!
//! Run times relative to metered code without checks, measured in one run on a virtual machine with an Intel Xeon. The loops
//! ran with a limit of 3,072 units between checks.
//!
//! | code | run time |
//! |---|---|
//! | loops of two to nine operators | between 1.0 and 1.4 times |
//! | nested loops of ten iterations, and loops of tiny `memory.fill`s | between 1.5 and 1.6 times |
//! | a loop that stores a byte, for which too few registers are left | between 1.5 and 1.6 times |
//! | Zstandard compression | between 1.0 and 1.1 times |
//! | Markdown | 1.1 times |
//! | recursion | the same |
//!
//! # Unchanged parts
//!
//! The added function is the last one, so that no index changes. All sections except types, functions and code are
//! copied. The caller validates a module first. If it did not, the rewriter fails or
//! returns bytes that the engine refuses; it does not panic.

mod body;

pub(crate) use body::operator_cost;

use body::Body;
use wasmparser::{CompositeInnerType, FunctionBody, Parser, Payload, SubType, TypeRef};

/// The maximum fuel that may be missing from the reported fuel of a call that did not return: 8,192 units.
///
/// The fuel of a call that returns, or that uses up its fuel, is exact. If a call traps or is interrupted,
/// the reported fuel is a lower bound: the operators that ran used at most this much more. An
/// operator on a range of memory or of a table (`memory.fill`) that is interrupted or traps does so before
/// its work, and is not counted.
///
/// This much fuel is used in 2 to 4 microseconds. A smaller bound would slow guests down.
pub const MAX_UNCOUNTED_FUEL: u64 = MAX_WEIGHT + MAX_PATH;

/// The maximum weight with which a check does not call the added function. Seven times [`MAX_PATH`], so that a loop
/// with large and small branches, for example an interpreter's, calls it once in seven iterations or more,
/// although its weight is that of the largest branch. With three times, compression and Markdown took
/// 5 % longer.
const MAX_WEIGHT: u64 = 7 * MAX_PATH;

/// The maximum fuel that a path may use without a check. A check has about ten operators, so straight-line code
/// becomes one per cent longer.
const MAX_PATH: u64 = 1024;

/// The maximum constant length with which a bulk operator is counted like any other. For copies up to this length,
/// Wasmtime generates inline code, which a call would slow down.
const MAX_SHORT_BULK: u64 = 128;

/// The maximum growth factor of a rewritten module, in addition to [`SPARE_BYTES`]. A check takes about 30 bytes.
/// The modules of this repository grow by up to 25 %; one that consists of empty loops would grow tenfold.
const MAX_GROWTH: usize = 4;

/// The number of bytes that any module may grow by, so that a small module may consist of loops.
const SPARE_BYTES: usize = 1 << 20;

/// Returns the rewritten module.
///
/// # Errors
///
/// The reason why the module cannot be rewritten: its bytes are malformed, it uses operators of proposals that the
/// rewriter does not support, or it would grow too much.
pub(crate) fn rewrite(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let max = wasm.len().saturating_mul(MAX_GROWTH).saturating_add(SPARE_BYTES);
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
                // The added function: no locals, only an `end`.
                code.extend([2, 0, 0x0b]);
                push_section(&mut output, CODE_SECTION, &code)?;
            }
        }
        if output.len().saturating_add(code.len()) > max {
            return Err(format!(
                "it has so many loops that fuel metering would make it more than {MAX_GROWTH} times as large as its {} bytes",
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

/// The size of a module's header, in bytes.
const HEADER: usize = 8;

const CODE_SECTION: u8 = 10;

/// The parts of a module that precede its code.
#[derive(Default)]
struct Module {
    /// The number of parameters of each type; 0 if it is not a function type.
    parameters: Vec<u32>,
    /// The type of functions without parameters and results.
    empty_type: Option<u32>,
    /// The type of the added function.
    added_type: u32,
    imported_functions: u32,
    /// The types of the functions that have bodies.
    functions: Vec<u32>,
    /// The number of rewritten functions.
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

    /// The type section. The added function's type is appended if no existing type matches.
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
        let message = |error: wasmparser::BinaryReaderError| error.to_string();
        let ty = self.functions.get(self.rewritten).ok_or("a function has no type")?;
        self.rewritten += 1;
        let parameters = self.parameters.get(*ty as usize).ok_or("a function's type is missing")?;
        let added_function = u32::try_from(self.functions.len())
            .ok()
            .and_then(|functions| functions.checked_add(self.imported_functions))
            .ok_or("it has too many functions")?;

        let mut locals = body.get_locals_reader().map_err(message)?;
        let (groups, groups_start) = (locals.get_count(), locals.original_position());
        let mut weight_local = *parameters;
        for _ in 0..groups {
            let (count, _) = locals.read().map_err(message)?;
            weight_local =
                weight_local.checked_add(count).ok_or("a function has too many locals")?;
        }
        let groups_end = locals.original_position();
        let groups_bytes = wasm
            .get(groups_start..groups_end)
            .ok_or("the locals of a function are outside the module")?;

        let mut rewritten = Body::new(wasm, groups_end, added_function, weight_local);
        let mut operators = body.get_operators_reader().map_err(message)?;
        while !operators.eof() {
            let (operator, start) = operators.read_with_offset().map_err(message)?;
            rewritten.operator(&operator, start, operators.original_position())?;
        }
        let (instructions, has_checks) = rewritten.finish(operators.original_position())?;
        if has_checks && weight_local >= MAX_LOCALS {
            return Err(format!(
                "with fuel metering, a function would have more than {MAX_LOCALS} locals"
            ));
        }
        if added_function >= MAX_FUNCTIONS {
            return Err(format!(
                "with fuel metering, it would have more than {MAX_FUNCTIONS} functions"
            ));
        }

        let mut start = Vec::with_capacity(groups_bytes.len() + 8);
        push_u32(&mut start, groups.saturating_add(u32::from(has_checks)));
        start.extend(groups_bytes);
        if has_checks {
            // One more local, of type `i64`.
            start.extend([1, 0x7e]);
        }
        if start.len() + instructions.len() > MAX_BODY {
            return Err(format!(
                "with fuel metering, a function would have more than {MAX_BODY} bytes"
            ));
        }
        push_length(code, start.len() + instructions.len())?;
        code.extend(start);
        code.extend(instructions);
        Ok(())
    }
}

/// The engine's limits: locals of a function, its parameters included; functions, imported ones included; and bytes of a
/// function.
const MAX_LOCALS: u32 = 50_000;
const MAX_FUNCTIONS: u32 = 1_000_000;
const MAX_BODY: usize = 7_654_321;

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
    let length =
        u32::try_from(length).map_err(|_| "with fuel metering, it would have more than 4 GiB")?;
    push_u32(bytes, length);
    Ok(())
}

fn push_section(module: &mut Vec<u8>, id: u8, content: &[u8]) -> Result<(), String> {
    module.push(id);
    push_length(module, content.len())?;
    module.extend(content);
    Ok(())
}

/// The bytes after the count at the start of a section.
fn after_count(section: &[u8]) -> Result<&[u8], String> {
    let end = section.iter().position(|byte| byte & 0x80 == 0);
    end.and_then(|end| section.get(end + 1..)).ok_or_else(|| "a section has no count".to_owned())
}

#[cfg(test)]
mod tests;
