//! Changes to manifests, applied to a pool that is not started.

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

/// A deployment of a folder's manifest, and the modules that it names.
struct Fixture {
    folder: tempfile::TempDir,
    deployment: Deployment,
}

impl Fixture {
    fn new() -> Self {
        let options = Options::default();
        let wpc = WorkerProcedureCall::new(options.clone()).unwrap();
        wpc.start_workers(1).unwrap();
        let deployment = Deployment::new(wpc, options, 1, Pool::default());
        Self { folder: tempfile::tempdir().unwrap(), deployment }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    /// Writes dependency `lib`, which returns `value` as a number of this type.
    fn write_lib(&self, ty: &str, value: u32) {
        let text = format!(r#"(module (func (export "get") (result {ty}) {ty}.const {value}))"#);
        self.write("lib.wat", &text);
    }

    /// Writes function `f`, which returns ten times the number of `lib`.
    fn write_user(&self, ty: &str) {
        let text = format!(
            r#"(module (import "lib" "get" (func $get (result {ty})))
                (func (export "f") (result {ty}) ({ty}.mul ({ty}.const 10) (call $get))))"#
        );
        self.write("f.wat", &text);
    }

    /// Applies a manifest; returns what changed, and the codes of the problems.
    fn apply(&mut self, text: &str) -> (Vec<String>, Vec<&'static str>) {
        let source = Source::new(self.folder.path().join("wpc.toml"), text.to_owned());
        let report = self.deployment.apply(&source, &source.parse().unwrap());
        let changed = report.defined.iter().chain(&report.removed).map(ToString::to_string);
        (changed.collect(), report.problems.iter().map(|problem| problem.code).collect())
    }

    /// Writes a module whose functions return these numbers.
    fn write_module(&self, file: &str, functions: &[(&str, u32)]) {
        let functions = functions.iter().map(|(name, value)| {
            format!(r#"(func (export "{name}") (result i32) i32.const {value})"#)
        });
        self.write(file, &format!("(module {})", functions.collect::<String>()));
    }

    /// The functions of the pool with their results.
    fn functions(&self) -> Vec<(String, serde_json::Value)> {
        let functions = self.deployment.pool().get_remote_functions().into_iter();
        functions.map(|function| (function.name.clone(), self.call(&function.name))).collect()
    }

    fn call(&self, function: &str) -> serde_json::Value {
        self.deployment.pool().call_json(function, &[]).unwrap()
    }
}

#[test]
fn a_manifest_grants_calls_of_other_functions() {
    let mut fixture = Fixture::new();
    fixture.write_module("g.wat", &[("g", 7)]);
    fixture.write(
        "f.wat",
        r#"(module (import "wpc-functions" "g" (func $g (param i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (func (export "f") (result i32)
                (drop (call $g (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 64)))
                ;; The number of the reply, whose last bit is its sign.
                (i32.shr_u (i32.load8_u (i32.const 65)) (i32.const 1))))"#,
    );
    let text = "[functions.g]\nfile = \"g.wat\"\n[functions.f]\nfile = \"f.wat\"\n";
    let (_, problems) = fixture.apply(text);
    assert_eq!(problems, ["not_granted"]);
    let (_, problems) = fixture.apply(&format!("{text}grants = [\"function=g\"]\n"));
    assert_eq!(problems, Vec::<&str>::new());
    assert_eq!(fixture.call("f"), 7);
}

const PAIR: &str = "[dependencies.lib]\nfile = \"lib.wat\"\n[functions.f]\nfile = \"f.wat\"\n";

#[test]
fn a_dependency_and_its_user_change_together_or_stay_together() {
    let mut fixture = Fixture::new();
    fixture.write_lib("i32", 1);
    fixture.write_user("i32");
    let both = ["dependency \"lib\"", "function \"f\""].map(str::to_owned).to_vec();
    assert_eq!(fixture.apply(PAIR), (both.clone(), vec![]));
    // A different type, which the user does not have yet.
    fixture.write_lib("i64", 2);
    assert_eq!(fixture.apply(PAIR), (vec![], vec!["dependency_export"]));
    assert_eq!(fixture.call("f"), 10);
    // A broken user keeps the dependency as it was.
    fixture.write("f.wat", "(module");
    assert_eq!(fixture.apply(PAIR), (vec![], vec!["not_wasm", "dependency_export"]));
    assert_eq!(fixture.call("f"), 10);
    fixture.write_user("i64");
    assert_eq!(fixture.apply(PAIR), (both, vec![]));
    assert_eq!(fixture.call("f"), 20);
}

#[test]
fn a_broken_item_does_not_keep_others_from_changing() {
    let mut fixture = Fixture::new();
    fixture.write_lib("i32", 1);
    fixture.write_user("i32");
    assert_eq!(fixture.apply(PAIR).1, Vec::<&str>::new());
    fixture.write_lib("i32", 2);
    fixture.write("f.wat", "(module (func (export \"g\")) (func (export \"h\")))");
    let expected = (vec!["dependency \"lib\"".to_owned()], vec!["ambiguous_export"]);
    assert_eq!(fixture.apply(PAIR), expected);
    assert_eq!(fixture.call("f"), 20, "the previous function, with the new dependency");
}

#[test]
fn functions_that_a_module_no_longer_has_are_removed_with_its_change() {
    let mut fixture = Fixture::new();
    let manifest = "[modules.tools]\nfile = \"tools.wat\"\n";
    let names = |fixture: &Fixture| -> Vec<String> {
        let functions = fixture.deployment.pool().get_remote_functions();
        functions.into_iter().map(|function| function.name).collect()
    };
    fixture.write("tools.wat", r#"(module (func (export "one")) (func (export "two")))"#);
    fixture.apply(manifest);
    fixture.write("tools.wat", r#"(module (func (export "two")) (func (export "three")))"#);
    assert_eq!(fixture.apply(manifest), (vec!["module \"tools\"".to_owned()], vec![]));
    assert_eq!(names(&fixture), ["three", "two"]);
    // Another item takes the functions over.
    let (changed, problems) = fixture.apply("[modules.other]\nfile = \"tools.wat\"\n");
    assert_eq!((changed.len(), problems.len()), (2, 0));
    assert_eq!(names(&fixture), ["three", "two"]);
    assert_eq!(fixture.apply("").0, ["module \"other\""]);
    assert_eq!(names(&fixture), Vec::<String>::new());
}

fn functions(functions: &[(&str, u32)]) -> Vec<(String, serde_json::Value)> {
    functions.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

const MODULES: &str = "[modules.a]\nfile = \"a.wat\"\n[modules.b]\nfile = \"b.wat\"\n";

#[test]
fn a_function_moves_from_one_module_to_another() {
    for (from, to) in [("a.wat", "b.wat"), ("b.wat", "a.wat")] {
        let mut fixture = Fixture::new();
        fixture.write_module(from, &[("f", 1), ("one", 1)]);
        fixture.write_module(to, &[("two", 1)]);
        fixture.apply(MODULES);
        fixture.write_module(from, &[("one", 2)]);
        fixture.write_module(to, &[("f", 2), ("two", 2)]);
        assert_eq!(fixture.apply(MODULES).1, [""; 0]);
        assert_eq!(fixture.functions(), functions(&[("f", 2), ("one", 2), ("two", 2)]));
        // It belongs to the other module now.
        fixture.write_module(to, &[("two", 3)]);
        assert_eq!(fixture.apply(MODULES).1, [""; 0]);
        assert_eq!(fixture.functions(), functions(&[("one", 2), ("two", 3)]));
    }
}

#[test]
fn two_modules_exchange_functions() {
    let mut fixture = Fixture::new();
    fixture.write_module("a.wat", &[("f", 1)]);
    fixture.write_module("b.wat", &[("g", 1)]);
    fixture.apply(MODULES);
    fixture.write_module("a.wat", &[("g", 2)]);
    fixture.write_module("b.wat", &[("f", 2)]);
    assert_eq!(fixture.apply(MODULES).1, [""; 0]);
    assert_eq!(fixture.functions(), functions(&[("f", 2), ("g", 2)]));
    // One of them is refused, so its new function stays as it was.
    fixture.write_module("a.wat", &[("f", 3)]);
    fixture.write("b.wat", r#"(module (import "wpc" "none" (func)) (func (export "g")))"#);
    assert_eq!(fixture.apply(MODULES).1, ["unknown_import"]);
    assert_eq!(fixture.functions(), functions(&[("f", 3), ("g", 2)]));
    // The refused module as it was before no longer fits, because its function moved.
    fixture.write_module("b.wat", &[("f", 2)]);
    assert_eq!(fixture.apply(MODULES), (vec![], vec!["manifest"]));
    fixture.write_module("b.wat", &[("g", 4)]);
    assert_eq!(fixture.apply(MODULES), (vec!["module \"b\"".to_owned()], vec![]));
    assert_eq!(fixture.functions(), functions(&[("f", 3), ("g", 4)]));
}

/// A module whose functions are known and that is refused, and one that cannot be read.
const REFUSED: [(&str, &str); 2] = [
    (r#"(module (import "wpc" "none" (func)) (func (export "f")))"#, "unknown_import"),
    ("(module", "not_wasm"),
];

#[test]
fn a_function_stays_if_the_module_that_it_moves_to_is_refused() {
    for (from, to) in [("a.wat", "b.wat"), ("b.wat", "a.wat")] {
        for (refused, code) in REFUSED {
            let mut fixture = Fixture::new();
            fixture.write_module(from, &[("f", 1), ("one", 1)]);
            fixture.write_module(to, &[("two", 1)]);
            fixture.apply(MODULES);
            fixture.write_module(from, &[("one", 2)]);
            fixture.write(to, refused);
            assert_eq!(fixture.apply(MODULES).1[0], code);
            let kept = functions(&[("f", 1), ("one", 2), ("two", 1)]);
            assert_eq!(fixture.functions(), kept);
            // Repeated reloads keep it too, until the module is accepted or does not define it.
            fixture.apply(MODULES);
            assert_eq!(fixture.functions(), kept);
            fixture.write_module(to, &[("f", 3)]);
            assert_eq!(fixture.apply(MODULES).1, [""; 0]);
            assert_eq!(fixture.functions(), functions(&[("f", 3), ("one", 2)]));
            fixture.write_module(to, &[("three", 4)]);
            assert_eq!(fixture.apply(MODULES).1, [""; 0]);
            assert_eq!(fixture.functions(), functions(&[("one", 2), ("three", 4)]));
        }
    }
}

#[test]
fn a_function_of_a_renamed_item_stays_if_the_new_item_is_refused() {
    let item = |kind: &str, name: &str, file: &str| {
        (
            format!("[{kind}.{name}]\nfile = {file:?}\n"),
            format!("{} \"{name}\"", &kind[..kind.len() - 1]),
        )
    };
    let (modules, functions_) = ("modules", "functions");
    for (old, new) in [
        (item(modules, "old", "old.wat"), item(modules, "new", "new.wat")),
        (item(modules, "old", "old.wat"), item(functions_, "f", "new.wat")),
        (item(functions_, "f", "old.wat"), item(modules, "new", "new.wat")),
    ] {
        for (refused, code) in REFUSED {
            let mut fixture = Fixture::new();
            fixture.write_module("old.wat", &[("f", 1)]);
            fixture.apply(&old.0);
            fixture.write("new.wat", refused);
            let (changed, codes) = fixture.apply(&new.0);
            assert_eq!((changed, codes[0]), (vec![], code));
            assert_eq!(fixture.functions(), functions(&[("f", 1)]));
            fixture.write_module("new.wat", &[("f", 2)]);
            assert_eq!(fixture.apply(&new.0), (vec![new.1.clone(), old.1.clone()], vec![]));
            assert_eq!(fixture.functions(), functions(&[("f", 2)]));
        }
    }
}

#[test]
fn a_function_is_removed_once_no_refused_item_may_define_it() {
    let mut fixture = Fixture::new();
    let old = "[modules.old]\nfile = \"old.wat\"\n";
    fixture.write_module("old.wat", &[("f", 1), ("g", 1)]);
    fixture.apply(old);
    // Only `f` has another definition.
    let new = "[functions.f]\nfile = \"new.wat\"\n";
    assert_eq!(fixture.apply(new), (vec![], vec!["environment"]));
    assert_eq!(fixture.functions(), functions(&[("f", 1)]));
    // The previous item can return.
    assert_eq!(fixture.apply(old), (vec!["module \"old\"".to_owned()], vec![]));
    assert_eq!(fixture.functions(), functions(&[("f", 1), ("g", 1)]));
    // A module that cannot be read may define any function.
    let unread = "[modules.new]\nfile = \"new.wat\"\n";
    assert_eq!(fixture.apply(unread), (vec![], vec!["environment", "manifest", "manifest"]));
    assert_eq!(fixture.apply(""), (vec!["module \"old\"".to_owned()], vec![]));
    assert_eq!(fixture.functions(), []);
}

#[test]
fn a_function_of_two_items_is_refused() {
    let mut fixture = Fixture::new();
    fixture.write("f.wat", r#"(module (func (export "f")))"#);
    let both = "[modules.m]\nfile = \"f.wat\"\n[functions.f]\nfile = \"f.wat\"\n";
    assert_eq!(fixture.apply(both), (vec!["module \"m\"".to_owned()], vec!["manifest"]));
    assert_eq!(fixture.apply(both), (vec![], vec!["manifest"]));
}

#[test]
fn applying_a_manifest_takes_quasilinear_time() {
    let (few, many) = (comparisons(500), comparisons(4_000));
    // Eight times as many items, each found by a search of logarithmic depth.
    assert!(many < few * 16, "{few} comparisons for 500 constants, {many} for 4,000");
}
