//! Each row of the table of WebAssembly proposals in `docs/webassembly.md` is correct.

use crate::support::{code, stopped, wat};
use std::collections::BTreeMap;
use std::path::PathBuf;
use wpc_host::{Error, Options, WasmModule, WorkerProcedureCall};

/// A row of the table, and modules that use the proposal.
struct Row {
    proposal: &'static str,
    outcome: Outcome,
    /// Each is defined as `f`. An accepted one is called and returns 7.
    modules: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Outcome {
    Accepted,
    /// Rejected with the proposal's name in the error.
    Refused(&'static str),
    /// Rejected with this code, for a reason beyond the proposal.
    Otherwise(&'static str),
}
use Outcome::{Accepted, Otherwise, Refused};

const fn row(proposal: &'static str, outcome: Outcome, modules: &'static [&'static str]) -> Row {
    Row { proposal, outcome, modules }
}

const ROWS: &[Row] = &[
    row(
        "mutable globals",
        Accepted,
        &[r#"(module (global (export "g") (mut i32) (i32.const 7))
            (func (export "f") (result i32) global.get 0))"#],
    ),
    row(
        "sign extension",
        Accepted,
        &[r#"(module (func (export "f") (result i32) (i32.extend8_s (i32.const 0x107))))"#],
    ),
    row(
        "non-trapping float to int",
        Accepted,
        &[r#"(module (func (export "f") (result i32) (i32.trunc_sat_f64_s (f64.const 7.9))))"#],
    ),
    row(
        "multiple values",
        Accepted,
        &[r#"(module (func $two (result i32 i32) i32.const 3 i32.const 4)
            (func (export "f") (result i32) call $two i32.add))"#],
    ),
    row(
        "bulk memory",
        Accepted,
        &[r#"(module (memory 1) (func (export "f") (result i32)
            (memory.fill (i32.const 0) (i32.const 7) (i32.const 9))
            (memory.copy (i32.const 100) (i32.const 0) (i32.const 4))
            (i32.load8_u (i32.const 101))))"#],
    ),
    row(
        "reference types (`funcref`)",
        Accepted,
        &[r#"(module (table $one 1 funcref) (table $two 1 funcref) (elem declare func $seven)
            (func $seven (result i32) i32.const 7)
            (func (export "f") (result i32)
                (table.set $two (i32.const 0) (ref.func $seven))
                (call_indirect $two (result i32) (i32.const 0))))"#],
    ),
    row(
        "reference types (`externref`)",
        Accepted,
        &[
            r#"(module (table 1 externref) (func (export "f") (result i32)
                (select (i32.const 7) (i32.const 0) (ref.is_null (table.get 0 (i32.const 0))))))"#,
            r#"(module (func $g (param externref) (result i32)
                    (i32.mul (i32.const 7) (ref.is_null (local.get 0))))
                (func (export "f") (result i32) (call $g (ref.null extern))))"#,
        ],
    ),
    row(
        "fixed-width SIMD",
        Accepted,
        &[r#"(module (func (export "f") (result i32)
            (i32x4.extract_lane 0 (i32x4.add (v128.const i32x4 3 0 0 0) (v128.const i32x4 4 0 0 0)))))"#],
    ),
    row(
        "relaxed SIMD",
        Accepted,
        &[r#"(module (func (export "f") (result i32)
            (i32x4.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 7 0 0 0)))))"#],
    ),
    row(
        "tail calls",
        Accepted,
        &[r#"(module (func $g (param i32) (result i32)
                (if (result i32) (i32.eqz (local.get 0)) (then i32.const 7)
                    (else (return_call $g (i32.sub (local.get 0) (i32.const 1))))))
            (func (export "f") (result i32) (return_call $g (i32.const 1000000))))"#],
    ),
    row(
        "extended constant expressions",
        Accepted,
        &[r#"(module (global i32 (i32.add (i32.const 3) (i32.const 4)))
            (func (export "f") (result i32) global.get 0))"#],
    ),
    row(
        "typed function references",
        Accepted,
        &[r#"(module (type $t (func (result i32))) (elem declare func $seven)
            (func $seven (type $t) i32.const 7)
            (func (export "f") (result i32) (call_ref $t (ref.func $seven))))"#],
    ),
    row(
        "branch hinting",
        Accepted,
        &[r#"(module (func (export "f") (result i32)
            (@metadata.code.branch_hint "\00") (if (i32.const 0) (then unreachable)) i32.const 7))"#],
    ),
    row(
        "custom annotations",
        Accepted,
        &[r#"(module (@custom "note" "text") (func (export "f") (result i32) i32.const 7))"#],
    ),
    row(
        "garbage collection",
        Refused("garbage collection"),
        &[
            r#"(module (type $s (struct (field i32)))
                (func (export "f") (drop (struct.new $s (i32.const 1)))))"#,
            r#"(module (func (export "f") (drop (ref.i31 (i32.const 1)))))"#,
            r#"(module (func (export "f") (drop (ref.null any))))"#,
            r#"(module (tag $t (param anyref)) (func (export "f")))"#,
            r#"(module (tag $t) (func (export "f") (throw $t) (drop (ref.i31 (i32.const 1)))))"#,
            r#"(module (func (export "f") (drop (any.convert_extern (ref.null extern)))))"#,
            r#"(module (rec (type $a (func)) (type (func))) (type $s (sub (func))) (func (export "f")))"#,
        ],
    ),
    row(
        "exception handling",
        Accepted,
        &[
            r#"(module (tag $t (param i32)) (func (export "f") (result i32)
                (block $h (result i32) (try_table (catch $t $h) (throw $t (i32.const 7))) unreachable)))"#,
            r#"(module (tag $t) (func (export "f") (result i32)
                (block $outer
                    (try_table (catch_all $outer)
                        (block $h (result exnref) (try_table (catch_all_ref $h) (throw $t)) unreachable)
                        throw_ref))
                (i32.const 7)))"#,
        ],
    ),
    row(
        "exception handling (legacy)",
        Refused("exception handling (legacy)"),
        // `try`, `throw` and `catch_all`, which the text format no longer has.
        &[
            r#"(module binary "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\0d\03\01\00\00"
            "\07\05\01\01f\00\00" "\0a\0a\01\08\00\06\40\08\00\19\0b\0b")"#,
        ],
    ),
    row(
        "threads and atomics",
        Refused("threads and atomics"),
        &[
            r#"(module (memory 1 1 shared) (func (export "f")))"#,
            r#"(module (memory 1) (func (export "f") (drop (i32.atomic.load (i32.const 0)))))"#,
            r#"(module (func (export "f") atomic.fence))"#,
        ],
    ),
    row(
        "shared-everything threads",
        Refused("shared-everything threads"),
        &[r#"(module (table shared 1 (ref null (shared func))) (func (export "f")))"#],
    ),
    row(
        "64-bit memory",
        Refused("64-bit memory"),
        &[
            r#"(module (memory i64 1) (func (export "f")))"#,
            r#"(module (table i64 1 funcref) (func (export "f")))"#,
        ],
    ),
    row(
        "multiple memories",
        Refused("multiple memories"),
        &[r#"(module (memory 1) (memory 1) (func (export "f")))"#],
    ),
    row(
        "custom page sizes",
        Refused("custom page sizes"),
        &[r#"(module (memory 1 (pagesize 1)) (func (export "f")))"#],
    ),
    row(
        "wide arithmetic",
        Refused("wide arithmetic"),
        &[r#"(module (func (export "f") (param i64 i64)
            local.get 0 local.get 1 i64.mul_wide_u drop drop))"#],
    ),
    row(
        "stack switching",
        Refused("stack switching"),
        &[r#"(module (type $f (func)) (type $c (cont $f)) (elem declare func $g) (func $g)
            (func (export "f") (resume $c (cont.new $c (ref.func $g)))))"#],
    ),
    row(
        "memory control",
        Refused("memory control"),
        &[r#"(module (memory 1) (func (export "f")
            (memory.discard (i32.const 0) (i32.const 65536))))"#],
    ),
    row(
        "compact import section",
        Refused("compact import section"),
        &[
            r#"(module (import "a" (item "b" (func)) (item "c" (func))) (func (export "f")))"#,
            r#"(module (import "a" (item "b") (item "c") (func)) (func (export "f")))"#,
        ],
    ),
    row(
        "custom descriptors",
        Refused("custom descriptors"),
        &[r#"(module (rec (type $s (descriptor $d) (struct)) (type $d (describes $s) (struct)))
            (func (export "f")))"#],
    ),
    row(
        "JS string builtins",
        Otherwise("unknown_import"),
        &[r#"(module (import "wasm:js-string" "length" (func (param i32) (result i32)))
            (func (export "f")))"#],
    ),
    row("component model", Otherwise("component"), &[r#"(component)"#]),
];

fn define(wpc: &WorkerProcedureCall, text: &str) -> Result<(), Error> {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let module = WasmModule::new(bytes);
    wpc.define_worker_function("f", module).map(drop)
}

#[test]
fn every_row_of_the_table_is_true() {
    let wpc = stopped(Options::default());
    wpc.start_workers(1).unwrap();
    let mut wrong = Vec::new();
    for Row { proposal, outcome, modules } in ROWS {
        for module in *modules {
            let defined = define(&wpc, module);
            let is_correct = match (outcome, &defined) {
                (Accepted, Ok(())) => wpc.call::<i32>("f", ()).is_ok_and(|value| value == 7),
                (Refused(name), Err(Error::UnsupportedProposal { proposal, .. })) => {
                    name == proposal
                }
                (Otherwise(expected), Err(error)) => error.code().as_str() == *expected,
                _ => false,
            };
            if !is_correct {
                wrong.push(format!("{proposal}: {defined:?}: {module}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_document_has_these_rows() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/webassembly.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    // Later sections have other tables.
    let table = text.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).map(cells);
    let documented: BTreeMap<_, _> =
        rows.skip(1).map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    let tested: BTreeMap<_, _> = ROWS
        .iter()
        .map(|row| {
            let accepted = if matches!(row.outcome, Accepted) { "yes" } else { "no" };
            (row.proposal.to_owned(), accepted.to_owned())
        })
        .collect();
    assert_eq!(documented, tested);
}

#[test]
fn an_invalid_module_is_not_reported_as_a_proposal() {
    let wpc = stopped(Options::default());
    let invalid = r#"(module (memory i64 1) (func (export "f") (result i32)))"#;
    assert_eq!(code(define(&wpc, invalid)), "invalid_module");
    let both = wat(r#"(module (memory i64 1) (memory 1) (func (export "f")))"#);
    let error = wpc.define_worker_function("f", both).unwrap_err();
    let Error::UnsupportedProposal { proposal, .. } = &error else { panic!("{error}") };
    assert_eq!(*proposal, "64-bit memory");
}
