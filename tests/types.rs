//! Types that a module declares for constants and imports, compared with the definitions.

use crate::support::*;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use wpc_abi::section::{Constant, Import, custom_section};
use wpc_abi::text::{parse_signature, parse_type};
use wpc_host::{Error, Options, WasmModule, WorkerProcedureCall};

/// A module with the given records in its section.
fn recorded(text: &str, records: &[Vec<u8>]) -> WasmModule {
    let mut bytes = parse_wat(text);
    bytes.extend(custom_section(&records.concat()));
    WasmModule::new(bytes)
}

fn constant(name: &str, ty: &str) -> Vec<u8> {
    Constant::new(name, Some(parse_type(ty).unwrap())).record()
}

fn function(name: &str, signature: &str) -> Vec<u8> {
    parse_signature(name, signature).unwrap().record()
}

fn import(module: &str, name: &str, signature: &str) -> Vec<u8> {
    Import::new(module, parse_signature(name, signature).unwrap()).record()
}

/// A function `f` that returns the constant `LIMIT`, declared with this type.
fn reads_limit(ty: &str) -> WasmModule {
    recorded(
        &reads_constant("LIMIT"),
        &[constant("LIMIT", ty), function("f", &format!("() -> {ty}"))],
    )
}

/// A dependency with a function `stem` of this signature, which returns the bytes of its arguments.
fn stemmer(signature: &str) -> WasmModule {
    let text = r#"(module
        (memory (export "memory") 1)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 65)
        (func (export "stem") (param i32 i32) (result i64)
            (i64.or (pack 64 0) (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))"#;
    recorded(text, &[function("stem", signature)])
}

/// A function `index` that calls `stem` of this import module, with the given declarations, and returns its result.
fn indexes(module: &str, records: &[Vec<u8>]) -> WasmModule {
    let text = format!(
        r#"(module
        (import "{module}" "stem" (func $stem (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "index") (param i32 i32) (result i64)
            (i64.or (pack 64 0)
                (call $stem (local.get 0) (local.get 1) (i32.const 64) (i32.const 512)))))"#
    );
    recorded(&text, records).grant_host_function("stem")
}

/// The item of most errors here.
const LIMIT: &str = r#"constant "LIMIT""#;

/// Checks what the error names: the item, the module that declares its type, and the mismatch.
#[track_caller]
fn differs<T>(result: Result<T, Error>, expected: [&str; 3]) {
    let error = result.map(drop).unwrap_err();
    let Error::TypeMismatch { module, item, part, expected: declared, found, .. } = &error else {
        panic!("{error}")
    };
    let mismatch = format!("expected {declared}, found {found}");
    let mismatch = if part.is_empty() { mismatch } else { format!("{part}: {mismatch}") };
    assert_eq!([item, module, &mismatch], expected);
}

/// Defines the constant in every way.
#[track_caller]
fn refuses<T: Serialize>(wpc: &WorkerProcedureCall, value: T, ty: &str, expected: [&str; 3]) {
    differs(wpc.define_worker_constant("LIMIT", &value), expected);
    let value = serde_json::to_value(value).unwrap();
    differs(wpc.define_worker_constant_json("LIMIT", ty, &value), expected);
}

#[test]
fn a_constant_of_another_integer_type_is_rejected() {
    let wpc = pool(1);
    wpc.define_worker_function("f", reads_limit("u32")).unwrap();
    let mismatch = [LIMIT, r#"function "f""#, "expected `u32`, found `i64`"];
    refuses(&wpc, 3_i64, "i64", mismatch);
    assert!(wpc.call::<u32>("f", ()).is_err(), "the constant is not defined");
    wpc.define_worker_constant("LIMIT", &3_u32).unwrap();
    // A rejected update leaves the previous definition active.
    refuses(&wpc, 4_i64, "i64", mismatch);
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 3);
    wpc.define_worker_constant_json("LIMIT", "u32", &json!(5)).unwrap();
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 5);
}

#[test]
fn a_number_for_a_list_of_strings_is_rejected() {
    let wpc = stopped(Options::default());
    wpc.define_worker_function("f", reads_limit("Vec<String>")).unwrap();
    let mismatch = [LIMIT, r#"function "f""#, "expected `Vec<String>`, found `u32`"];
    refuses(&wpc, 0_u32, "u32", mismatch);
    wpc.define_worker_constant("LIMIT", &["a", "b"][..]).unwrap();
    // Encoded bytes are accepted if they decode as the type.
    wpc.define_worker_constant("LIMIT", &Vec::<u8>::new()).unwrap();
}

#[test]
fn a_module_that_reads_a_constant_as_another_type_is_rejected() {
    let wpc = pool(1);
    wpc.define_worker_constant("LIMIT", &3_u32).unwrap();
    wpc.define_worker_function("f", reads_limit("u32")).unwrap();
    let mismatch = [LIMIT, r#"function "f""#, "expected `i64`, found `u32`"];
    differs(wpc.define_worker_function("f", reads_limit("i64")), mismatch);
    differs(
        wpc.define_worker_dependency("d", reads_limit("P { x: u8 }")),
        [LIMIT, r#"dependency "d""#, "expected `P`, found `u32`"],
    );
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 3);
    // An unused dependency declares the constant as well, until it is undefined.
    wpc.define_worker_dependency("d", reads_limit("u32")).unwrap();
    wpc.undefine_worker_function("f");
    assert_eq!(code(wpc.define_worker_constant("LIMIT", "text")), "type_mismatch");
    wpc.undefine_worker_dependency("d");
    wpc.define_worker_constant("LIMIT", "text").unwrap();
    wpc.undefine_worker_constant("LIMIT");
    wpc.define_worker_function("f", reads_limit("i64")).unwrap();
}

#[test]
fn a_mismatched_field_is_named() {
    #[derive(Serialize)]
    struct Comment {
        author: String,
        tags: u32,
    }
    let wpc = stopped(Options::default());
    let ty = "Vec<Comment { author: String, tags: Vec<String> }>";
    wpc.define_worker_function("f", reads_limit(ty)).unwrap();
    let value = [Comment { author: "Ada".to_owned(), tags: 1 }];
    let error = wpc.define_worker_constant("LIMIT", &value[..]).unwrap_err();
    let Error::TypeMismatch { part, expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!([part, expected, found], ["field `tags` of `Comment`", "`Vec<String>`", "`u32`"]);
}

#[test]
fn a_dependency_with_other_types_is_rejected() {
    const STEM: &str = "(word: String) -> String";
    let wpc = pool(1);
    let declares =
        |signature: &str| indexes("wpc:stemmer", &[import("wpc:stemmer", "stem", signature)]);
    let named =
        |mismatch| [r#"function "stem" of dependency "stemmer""#, r#"function "index""#, mismatch];
    wpc.define_worker_dependency("stemmer", stemmer(STEM)).unwrap();
    for (signature, mismatch) in [
        ("(word: u32) -> u64", "parameter 1: expected `u32`, found `String`"),
        ("(word: String) -> u64", "result: expected `u64`, found `String`"),
        ("() -> String", "number of parameters: expected 0, found 1"),
    ] {
        differs(wpc.define_worker_function("index", declares(signature)), named(mismatch));
    }
    // Names of parameters are not compared.
    wpc.define_worker_function("index", declares("(text: String) -> String")).unwrap();
    assert_eq!(wpc.call::<String>("index", ("running",)).unwrap(), "running");
    // A rejected update leaves the previous definition active.
    let mismatch = "parameter 1: expected `String`, found `u32`";
    let update = wpc.define_worker_dependency("stemmer", stemmer("(word: u32) -> u64"));
    differs(update, named(mismatch));
    assert_eq!(wpc.call::<String>("index", ("running",)).unwrap(), "running");
    // The types of a plain export are those of its numbers.
    wpc.undefine_worker_dependency("stemmer");
    let plain = wat(r#"(module (func (export "stem") (param i32) (result i32) local.get 0))"#);
    let mismatch = "parameter 1: expected `String`, found `i32`";
    differs(wpc.define_worker_dependency("stemmer", plain), named(mismatch));
}

#[test]
fn a_host_function_with_other_types_is_rejected() {
    let wpc = pool(1);
    let declares = |signature: &str| indexes("wpc-host", &[import("wpc-host", "stem", signature)]);
    wpc.define_worker_function("index", declares("(word: String) -> String")).unwrap();
    let named = |mismatch| [r#"host function "stem""#, r#"function "index""#, mismatch];
    let mismatch = "parameter 1: expected `String`, found `u32`";
    differs(
        wpc.define_host_function("stem", |_, (word,): (u32,)| Ok::<_, String>(u64::from(word))),
        named(mismatch),
    );
    differs(
        wpc.define_async_host_function("stem", |_, (word,): (u32,)| async move {
            Ok::<_, String>(u64::from(word))
        }),
        named(mismatch),
    );
    differs(
        wpc.define_host_function_json("stem", "(word: u32) -> u64", |_, _| Ok(json!(1))),
        named(mismatch),
    );
    assert_eq!(code(wpc.call::<String>("index", ("a",))), "host_function_not_defined");
    wpc.define_host_function("stem", |_, (word,): (String,)| Ok::<_, String>(word + "!")).unwrap();
    assert_eq!(
        code(wpc.define_host_function("stem", |_, (word,): (String,)| Ok::<_, String>(
            word.len() as u64
        ))),
        "type_mismatch"
    );
    assert_eq!(wpc.call::<String>("index", ("a",)).unwrap(), "a!");
    differs(
        wpc.define_worker_function("index", declares("(word: String) -> u8")),
        named("result: expected `u8`, found `String`"),
    );
    // Types without a schema are not compared.
    wpc.define_untyped_host_function("stem", |_, (word,): (u32,)| Ok::<_, String>(word)).unwrap();
    wpc.define_worker_function("index", declares("(word: String) -> u8")).unwrap();
}

#[test]
fn undeclared_types_are_not_compared() {
    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("stemmer", stemmer("(word: String) -> String")).unwrap();
    // Types are declared for a function that the module does not import.
    let records = [
        import("wpc:other", "stem", "(word: u32) -> u64"),
        import("wpc:stemmer", "other", "(word: u32) -> u64"),
        // Constants as older guests declared them, without types.
        b"\x02\x06\x05LIMIT".to_vec(),
    ];
    wpc.define_worker_function("index", indexes("wpc:stemmer", &records)).unwrap();
    assert_eq!(wpc.get_remote_functions()[0].required_constants, ["LIMIT"]);
    wpc.define_worker_constant("LIMIT", &3_i64).unwrap();
    wpc.define_worker_constant("LIMIT", "three").unwrap();
}

#[test]
fn contradictory_declarations_of_a_module_are_both_compared() {
    let wpc = stopped(Options::default());
    let records = [constant("LIMIT", "u32"), constant("LIMIT", "i64")];
    wpc.define_worker_function("f", recorded(r#"(module (func (export "f")))"#, &records)).unwrap();
    for ty in ["u32", "i64"] {
        let defined = wpc.define_worker_constant_json("LIMIT", ty, &json!(3));
        assert_eq!(code(defined), "type_mismatch");
    }
}

/// The text of the declaration of each item.
fn texts<T: ToString>(declared: &BTreeMap<String, Vec<T>>) -> BTreeMap<&str, String> {
    let text = |declared: &Vec<T>| {
        assert_eq!(declared.len(), 1);
        declared[0].to_string()
    };
    declared.iter().map(|(name, declared)| (name.as_str(), text(declared))).collect()
}

#[test]
fn inspection_lists_types_of_constants_and_imports() {
    let ty = "Comment { tags: Vec<String> }";
    let records = [
        constant("LIMIT", "u32"),
        constant("FIRST", ty),
        import("wpc:stemmer", "stem", "(word: Word { text: String }) -> String"),
        import("wpc:stemmer", "other", "(word: u32) -> u64"),
    ];
    let information = indexes("wpc:stemmer", &records).inspect().unwrap();
    assert_eq!(information.required_constants, ["FIRST", "LIMIT"]);
    let constants = texts(&information.constant_types);
    assert_eq!((&*constants["FIRST"], &*constants["LIMIT"]), ("Comment", "u32"));
    let [dependency] = &information.required_dependencies[..] else { panic!("{information:?}") };
    assert_eq!(dependency.alias, "stemmer");
    assert_eq!(dependency.imports, ["stem"]);
    assert_eq!(dependency.signatures.len(), 1, "`other` is not imported");
    assert_eq!(texts(&dependency.signatures)["stem"], "(word: Word) -> String");
    let types: Vec<_> = information.types.iter().map(|ty| ty.definition.as_str()).collect();
    assert_eq!(types, [ty, "Word { text: String }"]);
    let records = [import("wpc-host", "stem", "(word: String) -> u8")];
    let information = indexes("wpc-host", &records).inspect().unwrap();
    assert_eq!(texts(&information.host_function_signatures)["stem"], "(word: String) -> u8");
}

#[test]
fn a_constant_is_defined_by_the_type_that_its_module_declares() {
    let wpc = pool(1);
    let module = reads_limit("Map<String, u16>");
    let types = module.constant_types().unwrap();
    assert_eq!(types["LIMIT"].to_string(), "Map<String, u16>");
    wpc.define_worker_constant_as("LIMIT", &types["LIMIT"], &json!({ "a": 300 })).unwrap();
    let refused = wpc.define_worker_constant_as("LIMIT", &types["LIMIT"], &json!({ "a": 70000 }));
    assert_eq!(code(refused), "constant_encode");
    wpc.define_worker_function("f", module).unwrap();
    assert_eq!(wpc.call_json("f", &[]).unwrap(), json!({ "a": 300 }));
}

#[test]
fn guests_of_the_sdk_declare_types() {
    let wpc = stopped(Options::default());
    wpc.define_worker_module(guest("needy")).unwrap();
    assert_eq!(code(wpc.define_worker_constant("PREFIX", &3_u32)), "type_mismatch");
    wpc.define_worker_constant("PREFIX", "p").unwrap();
    let information = guest("needy").inspect().unwrap();
    assert_eq!(texts(&information.constant_types)["PREFIX"], "String");
    let dependency = &information.required_dependencies[0];
    assert_eq!(texts(&dependency.signatures)["add"], "(a: i32, b: i32) -> i32");
    assert_eq!(texts(&dependency.signatures)["echo_bytes"], "(bytes: Vec<u8>) -> Vec<u8>");
    // A type without a schema is not declared.
    assert_eq!(texts(&dependency.signatures)["join"], "(import: ?, nothing: ?) -> String");
    let information = guest("hosted").inspect().unwrap();
    assert_eq!(
        texts(&information.host_function_signatures)["lookup"],
        "(key: String) -> Option<String>"
    );
    assert_eq!(
        texts(&information.host_function_signatures)["store"],
        "(key: String, value: String) -> ()"
    );
}
