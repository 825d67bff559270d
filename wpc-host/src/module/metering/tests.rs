//! Compares the results and the fuel of rewritten modules with the same modules as Wasmtime meters them.

mod random_programs;

use super::{MAX_UNCOUNTED_FUEL, operator_cost, rewrite};
use std::path::Path;
use std::sync::LazyLock;
use wasmtime::{Config, Engine, Instance, Linker, Module, Store, Val};

/// Enough for every program in these tests.
const FUEL: u64 = 1 << 40;

/// An engine that meters unmodified modules.
static PLAIN: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    Engine::new(config.consume_fuel(true)).unwrap()
});

/// An engine that meters rewritten modules.
static STEPPED: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    Engine::new(config.consume_fuel(true).operator_cost(operator_cost())).unwrap()
});

/// The result of a call to an export, or the trap that ended it, and its fuel.
type Ran = (Result<Vec<String>, String>, u64);

fn run(engine: &Engine, wasm: &[u8], argument: i32) -> Ran {
    let module = Module::from_binary(engine, wasm).unwrap();
    let mut store = Store::new(engine, ());
    store.set_fuel(FUEL).unwrap();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let function = instance.get_func(&mut store, "f").unwrap();
    let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
    let result = function.call(&mut store, &[Val::I32(argument)], &mut results);
    let result = result.map(|()| results.iter().map(|value| format!("{value:?}")).collect());
    (result.map_err(|error| error.root_cause().to_string()), FUEL - store.get_fuel().unwrap())
}

fn run_plain(text: &str, argument: i32) -> Ran {
    run(&PLAIN, &wat::parse_str(text).unwrap(), argument)
}

fn run_stepped(text: &str, argument: i32) -> Ran {
    run(&STEPPED, &rewrite(&wat::parse_str(text).unwrap()).unwrap(), argument)
}

/// Wasmtime writes the exact count before this operator.
const EXACT_TRAP: &str = "unreachable";

/// Wasmtime does not write the count before this operator traps. The path ends as with the other operator, so that both
/// programs have the same checks.
const TRAP: &str = "(drop (i32.div_u (i32.const 1) (i32.const 0))) unreachable";

/// Runs `text`, which traps at `TRAP`, and checks that at most [`MAX_UNCOUNTED_FUEL`] is missing from the counted fuel.
/// Returns the used fuel.
fn check_bound(text: &str, argument: i32) -> u64 {
    let (exact_result, exact) = run_stepped(&text.replace("TRAP", EXACT_TRAP), argument);
    let (result, counted) = run_stepped(&text.replace("TRAP", TRAP), argument);
    assert_eq!(exact_result.is_ok(), result.is_ok(), "{text}");
    if let Err(trap) = result {
        assert!(trap.contains("divide by zero"), "{trap}: {text}");
        assert!(counted <= exact + 5, "{counted} of {exact}: {text}");
        assert!(exact - exact.min(counted) <= MAX_UNCOUNTED_FUEL, "{counted} of {exact}: {text}");
    }
    exact
}

/// Every file below a folder whose name has this ending.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found
}

/// The guests of the repository, including hostile ones.
fn guests() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut guests = Vec::new();
    for folder in
        ["fixtures/wasm", "fixtures/wasi/wasm", "examples/guests/wasm", "examples/languages/wasm"]
    {
        guests.extend(files(&root.join(folder), "wasm"));
    }
    for text in files(&root.join("fixtures/hostile"), "wat") {
        guests.extend(wat::parse_bytes(&text).ok().map(|wasm| wasm.into_owned()));
    }
    guests
}

#[test]
fn rewritten_guests_are_valid_and_keep_their_imports_and_exports() {
    let guests = guests();
    assert!(guests.len() > 80, "{}", guests.len());
    for wasm in guests.iter().filter(|wasm| Module::validate(&STEPPED, wasm).is_ok()) {
        let rewritten = rewrite(wasm).unwrap();
        Module::validate(&STEPPED, &rewritten).unwrap();
        assert!(
            rewritten.len() <= wasm.len() + wasm.len() / 4 + 64,
            "{} of {}",
            rewritten.len(),
            wasm.len()
        );
        let sections = |wasm: &[u8]| {
            let sections = wasmparser::Parser::new(0).parse_all(wasm);
            let sections = sections.filter_map(|payload| payload.unwrap().as_section());
            let sections = sections.filter(|(id, _)| !matches!(id, 1 | 3 | 10));
            sections.map(|(id, range)| (id, wasm[range].to_vec())).collect::<Vec<_>>()
        };
        assert!(sections(wasm) == sections(&rewritten), "other sections are copied");
    }
}

#[test]
fn a_rewritten_guest_returns_the_same_result_for_nearly_the_same_fuel() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let wasm = std::fs::read(root.join("fixtures/wasm/size_order.wasm")).unwrap();
    let call = |engine: &Engine, wasm: &[u8]| {
        let module = Module::from_binary(engine, wasm).unwrap();
        let mut store = Store::new(engine, ());
        store.set_fuel(FUEL).unwrap();
        let mut linker = Linker::new(engine);
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let buffer = instance.get_typed_func::<i32, i32>(&mut store, wpc_abi::names::BUFFER_EXPORT);
        let address = buffer.unwrap().call(&mut store, 1 << 20).unwrap();
        (address, FUEL - store.get_fuel().unwrap())
    };
    let (plain, stepped) = (call(&PLAIN, &wasm), call(&STEPPED, &rewrite(&wasm).unwrap()));
    assert_eq!(plain.0, stepped.0);
    assert!((plain.1..=plain.1 + plain.1 / 100 + 2).contains(&stepped.1), "{plain:?} {stepped:?}");
}

/// Programs that use much fuel in ways that a count could miss, and then trap. Their argument is a number of iterations.
const EVASIONS: [(&str, &str); 14] = [
    (
        "a loop",
        r#"(func (export "f") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))) TRAP)"#,
    ),
    (
        "a trap inside a loop",
        r#"(func (export "f") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (if (i32.eqz (local.get 0)) (then TRAP)) (br 0)))"#,
    ),
    (
        "nested loops",
        r#"(func (export "f") (param i32) (local i32)
        (loop (local.set 1 (i32.const 10))
            (loop (local.set 1 (i32.sub (local.get 1) (i32.const 1))) (br_if 0 (local.get 1)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))) TRAP)"#,
    ),
    (
        "a loop by br_table",
        r#"(func (export "f") (param i32)
        (block (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_table 1 0 (i32.ne (local.get 0) (i32.const 0))))) TRAP)"#,
    ),
    (
        "a loop out of nested blocks",
        r#"(func (export "f") (param i32)
        (loop (block (block (block
            (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 3 (local.get 0)) (br 1)))))
        TRAP)"#,
    ),
    (
        "a loop with block parameters",
        r#"(func (export "f") (param i32)
        (i64.const 0) (local.get 0)
        (loop (param i64 i32) (result i64 i32)
            (local.set 0) (i64.add (i64.const 1)) (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if 0 (local.get 0)))
        (drop) (drop) TRAP)"#,
    ),
    (
        "a loop through an if",
        r#"(func (export "f") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (if (local.get 0) (then (br 1)) (else nop nop))) TRAP)"#,
    ),
    (
        "unreachable code",
        r#"(func (export "f") (param i32)
        (loop (block (br 0) (loop (br 0)) (unreachable) (if (then) (else)) (br_if 0) (local.get 0) (drop))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))) TRAP)"#,
    ),
    (
        "recursion",
        r#"(func $r (param i32)
            (if (i32.eqz (local.get 0)) (then TRAP))
            (call $r (i32.sub (local.get 0) (i32.const 1))))
        (func (export "f") (param i32) (call $r (i32.div_u (local.get 0) (i32.const 1000))))"#,
    ),
    (
        "tail calls",
        r#"(func $r (export "f") (param i32)
            (if (i32.eqz (local.get 0)) (then TRAP))
            (return_call $r (i32.sub (local.get 0) (i32.const 1))))"#,
    ),
    (
        "indirect calls",
        r#"(table funcref (elem $g)) (func $g (nop) (nop))
        (func (export "f") (param i32)
            (loop (call_indirect (i32.const 0))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))) TRAP)"#,
    ),
    (
        "memory.fill",
        r#"(memory 1) (func (export "f") (param i32)
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.and (local.get 0) (i32.const 0xffff)))
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 100))
            (memory.copy (i32.const 0) (i32.const 1000) (i32.const 1000))
            (local.set 0 (i32.sub (local.get 0) (i32.const 100))) (br_if 0 (i32.gt_s (local.get 0) (i32.const 0))))
        TRAP)"#,
    ),
    (
        "one memory.fill",
        r#"(memory 16) (func (export "f") (param i32)
        (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) TRAP)"#,
    ),
    (
        "tables",
        r#"(table 10 funcref) (func (export "f") (param i32)
        (drop (table.grow (ref.null func) (i32.const 50000)))
        (table.fill (i32.const 0) (ref.null func) (i32.const 50000))
        (table.copy (i32.const 0) (i32.const 1) (i32.const 50000)) TRAP)"#,
    ),
];

#[test]
fn no_program_evades_the_count() {
    for (name, text) in EVASIONS {
        let used = check_bound(&format!("(module {text})"), 1_000_000);
        assert!(used > 5_000, "{name} uses {used}");
    }
}

#[test]
fn straight_line_code_is_counted_in_steps() {
    let work = "(drop (i32.const 1))".repeat(100_000);
    let used = check_bound(&format!(r#"(module (func (export "f") (param i32) {work} TRAP))"#), 0);
    assert!((100_000..101_000).contains(&used), "{used}");
    // Alternative blocks, each of which uses little fuel.
    let choice = format!("(block (br_if 0 (local.get 0)) {})", "(drop (i32.const 1))".repeat(900));
    for argument in [0, 1] {
        let text =
            format!(r#"(module (func (export "f") (param i32) {} TRAP))"#, choice.repeat(100));
        check_bound(&text, argument);
    }
}

#[test]
fn a_call_uses_the_fuel_of_its_operators_and_two_units_per_step() {
    for (name, text) in EVASIONS {
        let text = format!("(module {})", text.replace("TRAP", ""));
        // Programs that end only by their trap.
        if matches!(name, "a trap inside a loop" | "recursion" | "tail calls") {
            continue;
        }
        let ((plain, exact), (stepped, counted)) =
            (run_plain(&text, 100_000), run_stepped(&text, 100_000));
        assert_eq!(plain, stepped, "{name}");
        assert!(
            (exact..=exact + exact / 100 + 12).contains(&counted),
            "{name}: {counted} for {exact}"
        );
        assert_eq!((counted - exact) % 2, 0, "{name}");
    }
    // Functions without loops are not changed.
    let short = r#"(module (func (export "f") (param i32) (result i64)
        nop (if (result i64) (local.get 0) (then (i64.const 1)) (else (i64.add (i64.const 1) (i64.const 2)))) nop))"#;
    for argument in [0, 1] {
        assert_eq!(run_plain(short, argument), run_stepped(short, argument));
    }
}

#[test]
fn malformed_modules_are_refused() {
    for (_, text) in EVASIONS {
        let wasm = wat::parse_str(format!("(module {})", text.replace("TRAP", TRAP))).unwrap();
        let rewritten = rewrite(&wasm).unwrap();
        for end in 0..wasm.len() {
            if let Ok(bytes) = rewrite(&wasm[..end]) {
                assert!(bytes.len() <= rewritten.len() + 3);
                let _ = Module::validate(&STEPPED, &bytes);
            }
        }
        for at in 0..wasm.len() {
            for bit in 0..8 {
                let mut flipped = wasm.clone();
                flipped[at] ^= 1 << bit;
                let is_valid = Module::validate(&STEPPED, &flipped).is_ok();
                match rewrite(&flipped) {
                    Ok(bytes) => assert!(!is_valid || Module::validate(&STEPPED, &bytes).is_ok()),
                    Err(reason) => assert!(!is_valid, "{reason}"),
                }
            }
        }
    }
}

#[test]
fn a_module_of_only_loops_is_refused_because_it_would_grow_too_much() {
    let body = "(loop)".repeat(100_000);
    let functions = format!("(func {body})").repeat(3);
    let wasm = wat::parse_str(format!("(module {functions})")).unwrap();
    let reason = rewrite(&wasm).unwrap_err();
    assert!(reason.contains("more than 4 times"), "{reason}");
}

#[test]
fn modules_without_functions_are_unchanged() {
    for text in [
        "(module)",
        "(module (memory 1))",
        r#"(module (import "a" "b" (func)) (export "b" (func 0)))"#,
    ] {
        let wasm = wat::parse_str(text).unwrap();
        assert_eq!(rewrite(&wasm).unwrap(), wasm, "{text}");
    }
}
