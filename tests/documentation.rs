//! Documentation of functions and types that a module carries.

use crate::support::*;
use wpc_abi::documentation::{MAX_TEXT, custom_section, function_record, type_record};
use wpc_abi::section::{self, Signature};
use wpc_host::{ModuleInformation, Schema, TypeInformation, WasmModule};

/// A module with a function `f` and these sections of documentation.
fn documented(sections: &[Vec<u8>]) -> WasmModule {
    let mut bytes = parse_wat(r#"(module (func (export "wpc:fn:f")))"#);
    bytes.extend(sections.iter().flat_map(|records| custom_section(records)));
    WasmModule::new(bytes)
}

/// The documentation of `f`, which `inspect` and a pool report alike.
fn documentation(module: &WasmModule) -> Option<String> {
    let inspected = module.inspect().unwrap();
    assert_eq!(inspected.refused, None);
    let defined = pool(1).define_worker_module(module.clone()).unwrap();
    assert_eq!(defined[0].documentation, inspected.functions[0].documentation);
    defined[0].documentation.clone()
}

#[test]
fn a_definition_reports_the_documentation_of_its_function() {
    let text = "First line.\n\nOther lines, with `code`.";
    let section = function_record("f", text);
    assert_eq!(documentation(&documented(&[section])).as_deref(), Some(text));
    assert_eq!(documentation(&documented(&[])), None);
    assert_eq!(documentation(&documented(&[function_record("g", text)])), None);
}

#[test]
fn documentation_is_part_of_the_hash_but_not_of_the_types() {
    let [one, other] =
        ["One.", "Other."].map(|text| documented(&[function_record("f", text)]).inspect().unwrap());
    assert_ne!(one.hash_sha1, other.hash_sha1);
    let wpc = pool(1);
    wpc.define_worker_function("f", documented(&[function_record("f", "One.")])).unwrap();
    let f = wpc.function::<(), ()>("f").unwrap();
    f.call(()).unwrap();
    wpc.define_worker_function("f", documented(&[function_record("f", "Other.")])).unwrap();
    f.call(()).unwrap();
    assert_eq!(wpc.get_remote_functions()[0].documentation.as_deref(), Some("Other."));
}

#[test]
fn malformed_and_oversized_sections_are_ignored_as_a_whole() {
    let valid = function_record("f", "Text.");
    let cut = valid[..valid.len() - 1].to_vec();
    let not_utf8 = b"\x01\x05\x01f\x02\xff\xfe".to_vec();
    let endless = b"\xff\xff\xff\xff\xff\xff".to_vec();
    let long = function_record("f", &"x".repeat(MAX_TEXT + 1));
    let large = function_record("g", &"x".repeat(MAX_TEXT)).repeat(300);
    for hostile in [cut, not_utf8, endless, long, large] {
        for sections in [[valid.clone(), hostile.clone()], [hostile.clone(), valid.clone()]] {
            assert_eq!(documentation(&documented(&sections)), None);
        }
    }
}

mod circle {
    #[derive(wpc_host::Schema)]
    #[expect(dead_code, reason = "only its schema is used")]
    pub(super) struct Shape {
        radius: f64,
    }
}

#[derive(Schema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Shape {
    side: f64,
}

/// The report on a module with a function of these types, and with documentation of a type `Shape`.
fn report_on(arguments: Vec<section::Argument>) -> ModuleInformation {
    let name = "f".to_owned();
    let signature =
        Signature { name, arguments, result: None, error: None, items: section::Items::None };
    let mut bytes = parse_wat(
        r#"(module (memory (export "memory") 1)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 0)
            (func (export "f") (param i32 i32) (result i64) i64.const 0))"#,
    );
    bytes.extend(section::custom_section(&signature.record()));
    let records = [
        type_record("Shape", "", "A shape."),
        type_record("Shape", "side", "In metres."),
        type_record("Other", "", "Not used by any function."),
    ];
    bytes.extend(custom_section(&records.concat()));
    WasmModule::new(bytes).inspect().unwrap()
}

fn argument<T: Schema>(name: &str) -> section::Argument {
    section::Argument { name: name.to_owned(), ty: Some(T::SCHEMA.into()) }
}

#[test]
fn types_of_a_signature_are_documented_by_name() {
    let report = report_on(vec![argument::<Vec<Shape>>("shapes")]);
    let [TypeInformation { documentation, item_documentation, .. }] = report.types.as_slice()
    else {
        panic!("expected one type: {:?}", report.types);
    };
    assert_eq!(documentation.as_deref(), Some("A shape."));
    assert_eq!(item_documentation["side"], "In metres.");
}

#[test]
fn different_types_of_one_name_have_no_documentation() {
    let report = report_on(vec![argument::<Shape>("one"), argument::<circle::Shape>("other")]);
    assert_eq!(report.types.len(), 2);
    for ty in report.types {
        assert_eq!((ty.documentation, ty.item_documentation.len()), (None, 0));
    }
}
