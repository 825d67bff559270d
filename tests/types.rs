//! Types that a module declares for constants and imports, against those that are defined.

use crate::support::*;
use serde::Serialize;
use serde_json::json;
use wpc_abi::section::{Constant, Import, custom_section};
use wpc_abi::text::{parse_signature, parse_type};
use wpc_host::{Error, Options, WasmModule, WorkerProcedureCall};

/// A module with these records in its section.
fn recorded(text: &str, records: &[Vec<u8>]) -> WasmModule {
    let mut bytes = wat::parse_str(text).unwrap();
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

/// A function `f` that gives the bytes of the constant `LIMIT`, read as this type.
fn reads_limit(ty: &str) -> WasmModule {
    let text = r#"(module
        (import "wpc" "wpc_constant" (func $constant (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (data (i32.const 16) "LIMIT")
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "f") (param i32 i32) (result i64)
            (i64.or (i64.const 274877906944) (i64.add (i64.const 1)
                (call $constant (i32.const 16) (i32.const 5) (i32.const 65) (i32.const 512))))))"#;
    recorded(text, &[constant("LIMIT", ty), function("f", &format!("() -> {ty}"))])
}

/// A dependency with a function `stem` of this signature, which gives back its arguments' bytes.
fn stemmer(signature: &str) -> WasmModule {
    let text = r#"(module
        (memory (export "memory") 1)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 65)
        (func (export "stem") (param i32 i32) (result i64)
            (i64.or (i64.const 274877906944) (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))"#;
    recorded(text, &[function("stem", signature)])
}

/// A function `index` that calls `stem` of this import module, declared like this, and gives back what it gives.
fn indexes(module: &str, records: &[Vec<u8>]) -> WasmModule {
    let text = format!(
        r#"(module
        (import "{module}" "stem" (func $stem (param i32 i32 i32 i32) (result i64)))
        (memory (export "memory") 1)
        (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 4096)
        (func (export "index") (param i32 i32) (result i64)
            (i64.or (i64.const 274877906944)
                (call $stem (local.get 0) (local.get 1) (i32.const 64) (i32.const 512)))))"#
    );
    recorded(&text, records).grant_host_function("stem")
}

#[track_caller]
fn differs<T>(result: Result<T, Error>, told: &str) {
    let Err(error) = result else { panic!("it is not refused: {told}") };
    assert_eq!(error.code().as_str(), "type_mismatch", "{error}");
    assert!(error.to_string().starts_with(told), "{error}");
}

/// Defines it in every way there is.
#[track_caller]
fn refuses<T: Serialize>(wpc: &WorkerProcedureCall, value: T, ty: &str, told: &str) {
    differs(wpc.define_worker_constant("LIMIT", &value), told);
    let value = serde_json::to_value(value).unwrap();
    differs(wpc.define_worker_constant_json("LIMIT", ty, &value), told);
}

#[test]
fn a_constant_of_another_integer_type_than_its_module_reads_is_refused() {
    let wpc = pool(1);
    wpc.define_worker_function("f", reads_limit("u32")).unwrap();
    let told = r#"constant "LIMIT" does not have the type that is declared by function "f": expected `u32`, found `i64`"#;
    refuses(&wpc, 3_i64, "i64", told);
    assert!(wpc.call::<u32>("f", ()).is_err(), "it is not defined");
    wpc.define_worker_constant("LIMIT", &3_u32).unwrap();
    // An update that is refused leaves what is there.
    refuses(&wpc, 4_i64, "i64", told);
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 3);
    wpc.define_worker_constant_json("LIMIT", "u32", &json!(5)).unwrap();
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 5);
}

#[test]
fn a_number_for_a_list_of_texts_is_refused() {
    let wpc = stopped(Options::default());
    wpc.define_worker_function("f", reads_limit("Vec<String>")).unwrap();
    let told = r#"constant "LIMIT" does not have the type that is declared by function "f": expected `Vec<String>`, found `u32`"#;
    refuses(&wpc, 0_u32, "u32", told);
    wpc.define_worker_constant("LIMIT", &["a", "b"][..]).unwrap();
    // Bytes that decode are of the type, whatever they might be besides.
    wpc.define_worker_constant("LIMIT", &Vec::<u8>::new()).unwrap();
}

#[test]
fn a_module_that_reads_a_constant_as_another_type_is_refused() {
    let wpc = pool(1);
    wpc.define_worker_constant("LIMIT", &3_u32).unwrap();
    wpc.define_worker_function("f", reads_limit("u32")).unwrap();
    let told = r#"constant "LIMIT" does not have the type that is declared by function "f": expected `i64`, found `u32`"#;
    differs(wpc.define_worker_function("f", reads_limit("i64")), told);
    differs(
        wpc.define_worker_dependency("d", reads_limit("P { x: u8 }")),
        r#"constant "LIMIT" does not have the type that is declared by dependency "d": expected `P`, found `u32`"#,
    );
    assert_eq!(wpc.call::<u32>("f", ()).unwrap(), 3);
    // A dependency that no function needs declares it as well, until it is forgotten.
    wpc.define_worker_dependency("d", reads_limit("u32")).unwrap();
    wpc.undefine_worker_function("f");
    assert_eq!(code(wpc.define_worker_constant("LIMIT", "text")), "type_mismatch");
    wpc.undefine_worker_dependency("d");
    wpc.define_worker_constant("LIMIT", "text").unwrap();
    wpc.undefine_worker_constant("LIMIT");
    wpc.define_worker_function("f", reads_limit("i64")).unwrap();
}

#[test]
fn the_field_that_differs_is_named() {
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
    let Error::TypeMismatch { place, expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!([place, expected, found], ["field `tags` of `Comment`", "`Vec<String>`", "`u32`"]);
}

#[test]
fn a_dependency_whose_function_has_other_types_is_refused() {
    const STEM: &str = "(word: String) -> String";
    let wpc = pool(1);
    let declares =
        |signature: &str| indexes("wpc:stemmer", &[import("wpc:stemmer", "stem", signature)]);
    let told = |place: &str| {
        format!(
            "function \"stem\" of dependency \"stemmer\" does not have the type that is declared by function \"index\": {place}"
        )
    };
    wpc.define_worker_dependency("stemmer", stemmer(STEM)).unwrap();
    for (signature, place) in [
        ("(word: u32) -> u64", "parameter 1: expected `u32`, found `String`"),
        ("(word: String) -> u64", "result: expected `u64`, found `String`"),
        ("() -> String", "number of parameters: expected 0, found 1"),
    ] {
        differs(wpc.define_worker_function("index", declares(signature)), &told(place));
    }
    // Names of parameters do not matter.
    wpc.define_worker_function("index", declares("(text: String) -> String")).unwrap();
    assert_eq!(wpc.call::<String>("index", ("running",)).unwrap(), "running");
    // An update that is refused leaves what is there.
    let place = "parameter 1: expected `String`, found `u32`";
    let update = wpc.define_worker_dependency("stemmer", stemmer("(word: u32) -> u64"));
    differs(update, &told(place));
    assert_eq!(wpc.call::<String>("index", ("running",)).unwrap(), "running");
    // A plain export has the types of its numbers.
    wpc.undefine_worker_dependency("stemmer");
    let plain = wat(r#"(module (func (export "stem") (param i32) (result i32) local.get 0))"#);
    let place = "parameter 1: expected `String`, found `i32`";
    differs(wpc.define_worker_dependency("stemmer", plain), &told(place));
}

#[test]
fn a_host_function_of_other_types_is_refused() {
    let wpc = pool(1);
    let declares = |signature: &str| indexes("wpc-host", &[import("wpc-host", "stem", signature)]);
    wpc.define_worker_function("index", declares("(word: String) -> String")).unwrap();
    let told = |place: &str| {
        format!(
            "host function \"stem\" does not have the type that is declared by function \"index\": {place}"
        )
    };
    let place = "parameter 1: expected `String`, found `u32`";
    differs(
        wpc.define_host_function("stem", |_, (word,): (u32,)| Ok::<_, String>(u64::from(word))),
        &told(place),
    );
    differs(
        wpc.define_async_host_function("stem", |_, (word,): (u32,)| async move {
            Ok::<_, String>(u64::from(word))
        }),
        &told(place),
    );
    differs(
        wpc.define_host_function_json("stem", "(word: u32) -> u64", |_, _| Ok(json!(1))),
        &told(place),
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
        &told("result: expected `u8`, found `String`"),
    );
    // Without schemas nothing is compared.
    wpc.define_untyped_host_function("stem", |_, (word,): (u32,)| Ok::<_, String>(word)).unwrap();
    wpc.define_worker_function("index", declares("(word: String) -> u8")).unwrap();
}

#[test]
fn what_a_module_does_not_declare_is_not_compared() {
    let wpc = stopped(Options::default());
    wpc.define_worker_dependency("stemmer", stemmer("(word: String) -> String")).unwrap();
    // Types are declared for something that it does not import.
    let records = [
        import("wpc:other", "stem", "(word: u32) -> u64"),
        import("wpc:stemmer", "other", "(word: u32) -> u64"),
        // As guests declared constants before they had types.
        b"\x02\x06\x05LIMIT".to_vec(),
    ];
    wpc.define_worker_function("index", indexes("wpc:stemmer", &records)).unwrap();
    assert_eq!(wpc.get_remote_functions()[0].required_constants, ["LIMIT"]);
    wpc.define_worker_constant("LIMIT", &3_i64).unwrap();
    wpc.define_worker_constant("LIMIT", "three").unwrap();
}

#[test]
fn parts_of_a_module_that_do_not_agree_are_both_compared() {
    let wpc = stopped(Options::default());
    let records = [constant("LIMIT", "u32"), constant("LIMIT", "i64")];
    wpc.define_worker_function("f", recorded(r#"(module (func (export "f")))"#, &records)).unwrap();
    for ty in ["u32", "i64"] {
        let defined = wpc.define_worker_constant_json("LIMIT", ty, &json!(3));
        assert_eq!(code(defined), "type_mismatch");
    }
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
    let told = indexes("wpc:stemmer", &records).inspect().unwrap();
    assert_eq!(told.required_constants, ["FIRST", "LIMIT"]);
    assert_eq!(json!(told.constant_types), json!({ "FIRST": "Comment", "LIMIT": "u32" }));
    assert_eq!(
        json!(told.required_dependencies),
        json!([{ "alias": "stemmer", "imports": ["stem"], "signatures": { "stem": "(word: Word) -> String" } }])
    );
    let types: Vec<_> = told.types.iter().map(|ty| ty.definition.as_str()).collect();
    assert_eq!(types, [ty, "Word { text: String }"]);
    let records = [import("wpc-host", "stem", "(word: String) -> u8")];
    let told = indexes("wpc-host", &records).inspect().unwrap();
    assert_eq!(json!(told.host_function_signatures), json!({ "stem": "(word: String) -> u8" }));
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
    let told = guest("needy").inspect().unwrap();
    assert_eq!(told.constant_types["PREFIX"], "String");
    let dependency = &told.required_dependencies[0];
    assert_eq!(dependency.signatures["add"], "(a: i32, b: i32) -> i32");
    assert_eq!(dependency.signatures["echo_bytes"], "(bytes: Vec<u8>) -> Vec<u8>");
    // A type without a schema is not declared.
    assert_eq!(dependency.signatures["join"], "(import: ?, nothing: ?) -> String");
    let told = guest("hosted").inspect().unwrap();
    assert_eq!(told.host_function_signatures["lookup"], "(key: String) -> Option<String>");
    assert_eq!(told.host_function_signatures["store"], "(key: String, value: String) -> ()");
}
