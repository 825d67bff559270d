//! A function accepts every value that its schema accepts.

use crate::harness::Running;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use wpc_abi::section::custom_section;
use wpc_abi::text::parse_signature;
use wpc_host::WasmModule;

/// A module whose function `echo` has this signature, and returns the bytes of its arguments.
pub(super) fn echo(signature: &str) -> WasmModule {
    let mut wasm = wat::parse_str(
        r#"(module (memory (export "memory") 16)
            (func (export "wpc_buffer_v1") (param i32) (result i32) i32.const 1024)
            (func (export "echo") (param i32 i32) (result i64)
                (i32.store8 (i32.const 1023) (i32.const 0))
                (i64.or (i64.shl (i64.const 1023) (i64.const 32))
                    (i64.extend_i32_u (i32.add (local.get 1) (i32.const 1))))))"#,
    )
    .unwrap();
    wasm.extend(custom_section(&parse_signature("echo", signature).unwrap().record()));
    WasmModule::new(wasm)
}

/// The text of a type.
fn types() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "bool", "char", "String", "()", "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32",
        "u64", "u128", "f32", "f64",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|ty| format!("Option<{ty}>")),
            inner.clone().prop_map(|ty| format!("Vec<{ty}>")),
            inner.clone().prop_map(|ty| format!("Map<String, {ty}>")),
            inner.clone().prop_map(|ty| format!("[{ty}; 3]")),
            (inner.clone(), inner.clone()).prop_map(|(key, ty)| format!("Map<{key}, {ty}>")),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one}, {two})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("S {{ a: {a}, b: {b} }}")),
        ]
    })
}

/// A value that the schema accepts, chosen by `choose`, which returns a number below its argument.
fn value(document: &Value, schema: &Value, choose: &mut impl FnMut(usize) -> usize) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return value(document, document.pointer(&reference[1..]).unwrap(), choose);
    }
    for choices in ["anyOf", "oneOf"] {
        if let Some(all) = schema[choices].as_array() {
            return value(document, &all[choose(all.len())], choose);
        }
    }
    if let Some(all) = schema["enum"].as_array() {
        return all[choose(all.len())].clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[choose(kinds.len())].as_str().unwrap(),
        kind => kind.as_str().unwrap_or_else(|| panic!("no type: {schema}")),
    };
    match kind {
        "null" => Value::Null,
        "boolean" => json!(choose(2) == 1),
        "integer" => match choose(3) {
            0 => schema["minimum"].clone(),
            1 => schema["maximum"].clone(),
            // JSON Schema counts a number without a fraction as an integer.
            _ => [json!(choose(100)), json!(choose(100) as f64)][choose(2)].clone(),
        },
        "number" => match choose(4) {
            0 => schema.get("minimum").cloned().unwrap_or(json!(f64::MIN)),
            1 => schema.get("maximum").cloned().unwrap_or(json!(f64::MAX)),
            2 => json!(0.1),
            _ => json!(choose(100)),
        },
        "string" if schema.get("pattern").is_some() => {
            let pattern = schema["pattern"].as_str().unwrap();
            let texts = match pattern {
                "^(NaN|-?Infinity)$" => ["NaN", "Infinity", "-Infinity"],
                pattern if pattern.contains("-?") => {
                    ["0", "-170141183460469231731687303715884105728", "-9"]
                }
                _ => ["0", "340282366920938463463374607431768211455", "7"],
            };
            json!(texts[choose(3)])
        }
        "string" if schema.get("maxLength").is_some() => json!(["a", "ß", "🦀"][choose(3)]),
        "string" => json!(["", "text", "\u{0}\"\\🦀"][choose(3)]),
        "array" => {
            let first = schema["prefixItems"].as_array().cloned().unwrap_or_default();
            let mut items: Vec<_> = first.iter().map(|of| value(document, of, choose)).collect();
            let least = schema["minItems"].as_u64().unwrap_or(0);
            let least = usize::try_from(least).unwrap();
            let count = if schema.get("maxItems").is_some() { least } else { choose(4) };
            while items.len() < count {
                items.push(value(document, &schema["items"], choose));
            }
            Value::Array(items)
        }
        "object" => {
            let mut object = Map::new();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, of) in schema["properties"].as_object().into_iter().flatten() {
                if required.contains(&json!(name)) || choose(2) == 0 {
                    object.insert(name.clone(), value(document, of, choose));
                }
            }
            let others = &schema["additionalProperties"];
            if others.is_object() {
                for name in ["", "a", "Some"].into_iter().take(choose(4)) {
                    object.insert(name.to_owned(), value(document, others, choose));
                }
            }
            Value::Object(object)
        }
        other => panic!("{other}: {schema}"),
    }
}

#[test]
fn a_function_accepts_every_value_that_its_schema_accepts() {
    let server = Running::start();
    let mut config = ProptestConfig::with_cases(96);
    config.failure_persistence = None;
    proptest!(config, |(ty in types(), mut choices in prop::collection::vec(any::<u16>(), 200))| {
        let module = echo(&format!("(it: {ty}) -> {ty}"));
        server.wpc.define_worker_function("mirror", module.export("echo")).unwrap();
        let document = server.get("/openapi.json", &[]).json();
        let schema = super::body_schema(&document, "mirror");
        let mut choose = |count: usize| usize::from(choices.pop().unwrap_or(0)) % count;
        let arguments = value(&document, schema, &mut choose);
        let answer = server.call("mirror", &arguments);
        let text = String::from_utf8_lossy(&answer.body);
        prop_assert_eq!(answer.status, 200, "{}: {} {}", ty, arguments, text);
    });
}
