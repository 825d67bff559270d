//! Changes of manifests, applied to a pool that is not started.

use super::{Deployment, Options, Pool, Source, WorkerProcedureCall};
use crate::item::COMPARISONS;

/// The number of item comparisons when a manifest with `constants` constants is applied, and then an empty one.
fn comparisons(constants: usize) -> u64 {
    let parse = |text: String| {
        let source = Source::new("wpc.toml".into(), text);
        let manifest = source.parse().unwrap();
        (source, manifest)
    };
    let options = Options::default();
    let wpc = WorkerProcedureCall::new(options.clone()).unwrap();
    let mut deployment = Deployment::new(wpc, options, 1, Pool::default());
    let lines: String = (0..constants).map(|at| format!("C{at} = \"v\"\n")).collect();
    COMPARISONS.set(0);
    let (source, manifest) = parse(format!("[constants]\n{lines}"));
    let report = deployment.apply(&source, &manifest);
    assert_eq!((report.defined.len(), report.problems.len()), (constants, 0));
    let (source, manifest) = parse(String::new());
    let report = deployment.apply(&source, &manifest);
    assert_eq!((report.removed.len(), report.problems.len()), (constants, 0));
    COMPARISONS.get()
}

/// A module with a function `f` that declares this type for the constant LIMIT.
fn reads_limit(ty: &str) -> Vec<u8> {
    let ty = wpc_abi::text::parse_type(ty).unwrap();
    let mut module = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    let record = wpc_abi::section::Constant::new("LIMIT", Some(ty)).record();
    module.extend(wpc_abi::section::custom_section(&record));
    module
}

#[test]
fn a_constant_and_the_modules_that_read_it_change_type_together() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    let wpc = WorkerProcedureCall::new(options.clone()).unwrap();
    let mut deployment = Deployment::new(wpc, options, 1, Pool::default());
    let mut apply = |function: &str, dependency: &str| {
        for (file, ty) in [("f.wasm", function), ("d.wasm", dependency)] {
            std::fs::write(folder.path().join(file), reads_limit(ty)).unwrap();
        }
        let text = "[constants]\nLIMIT = 3\n[dependencies.d]\nfile = \"d.wasm\"\n[functions.f]\nfile = \"f.wasm\"\n";
        let source = Source::new(folder.path().join("wpc.toml"), text.to_owned());
        let manifest = source.parse().unwrap();
        let report = deployment.apply(&source, &manifest);
        let codes: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
        (report.defined.len(), codes)
    };
    assert_eq!(apply("u32", "u32"), (3, vec![]));
    assert_eq!(apply("u64", "u64"), (3, vec![]));
    // The two types differ, so the previous definitions stay active.
    let (_, codes) = apply("i64", "i32");
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == "type_mismatch"), "{codes:?}");
    let wpc = deployment.pool();
    assert_eq!(wpc.get_remote_functions()[0].required_constants, ["LIMIT"]);
    assert_eq!(wpc.get_worker_constants().len(), 1);
}

#[test]
fn applying_a_manifest_takes_quasilinear_time() {
    let (few, many) = (comparisons(500), comparisons(4_000));
    // Eight times as many items, each found by a search of logarithmic depth.
    assert!(many < few * 16, "{few} comparisons for 500 constants, {many} for 4,000");
}
