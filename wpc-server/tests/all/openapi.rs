//! The OpenAPI document, as the tools of clients read it.

mod clients;
mod values;

use crate::harness::Running;
use serde_json::{Value, json};

/// A server with functions of many types.
fn running() -> Running {
    let server = Running::start();
    for (module, functions) in [
        ("sdk", ["join", "nothing", "sum", "first_bytes", "opaque", "count"].as_slice()),
        ("types", ["everything", "other", "named", "match", "difference", "check"].as_slice()),
    ] {
        for function in functions {
            let module = crate::harness::guest(module);
            server.wpc.define_worker_function(function, module).unwrap();
        }
    }
    server
}

fn document(server: &Running) -> Value {
    let answer = server.get("/openapi.json", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

fn body_schema<'a>(document: &'a Value, function: &str) -> &'a Value {
    let path = format!("/v1/functions/{function}/call");
    &document["paths"][&path]["post"]["requestBody"]["content"]["application/json"]["schema"]
}

fn result_schema<'a>(document: &'a Value, function: &str) -> &'a Value {
    let path = format!("/v1/functions/{function}/call");
    &document["paths"][&path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
}

#[test]
fn a_function_is_described_by_its_signature_and_its_comment() {
    let document = document(&running());
    let add = &document["paths"]["/v1/functions/add/call"]["post"];
    assert_eq!(add["operationId"], "call_add");
    assert_eq!(add["summary"], "Adds two numbers.");
    assert!(add["description"].as_str().unwrap().contains("The sum wraps around"));
    let number = json!({
        "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX,
    });
    assert_eq!(
        *body_schema(&document, "add"),
        json!({
            "title": "arguments",
            "type": "object",
            "properties": { "a": number, "b": number },
            "required": ["a", "b"],
            "additionalProperties": false,
        })
    );
    assert_eq!(*result_schema(&document, "add"), number);
}

#[test]
fn structs_and_enums_are_components() {
    let document = document(&running());
    let orders = &body_schema(&document, "order")["properties"]["orders"];
    assert_eq!(
        *orders,
        json!({ "type": "array", "items": { "$ref": "#/components/schemas/Order" } })
    );
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Order"]["required"], json!(["item", "count"]), "a note is optional");
    assert_eq!(schemas["Order"]["properties"]["note"], json!({ "type": ["string", "null"] }));
    assert_eq!(
        *result_schema(&document, "order"),
        json!({ "$ref": "#/components/schemas/Answer" })
    );
    let variants = schemas["Answer"]["oneOf"].as_array().unwrap();
    assert_eq!(variants[0]["required"], json!(["Accepted"]));
}

#[test]
fn bytes_can_be_passed_and_returned_as_they_are() {
    let document = document(&running());
    let echo = &document["paths"]["/v1/functions/echo_bytes/call"]["post"];
    let binary = json!({ "schema": { "type": "string", "format": "binary" } });
    let bytes = "application/octet-stream";
    assert_eq!(echo["requestBody"]["content"][bytes], binary);
    assert_eq!(echo["responses"]["200"]["content"][bytes], binary);
}

#[test]
fn a_function_without_declared_types_takes_encoded_arguments_only() {
    let document = document(&running());
    let opaque = &document["paths"]["/v1/functions/opaque/call"]["post"];
    let content = opaque["requestBody"]["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/vnd.postcard"]);
}

#[test]
fn the_response_of_a_function_that_yields_items_is_a_stream() {
    let document = document(&running());
    let lines = &document["paths"]["/v1/functions/lines/call"]["post"]["responses"]["200"];
    let content = lines["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/jsonl", "text/event-stream"]);
    assert_eq!(content["text/event-stream"]["x-wpc-item-schema"], json!({ "type": "string" }));
}

#[test]
fn the_routes_that_the_document_describes_exist() {
    let server = running();
    for (path, methods) in document(&server)["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let url = path.replace("{name}", "add").replace("{number}", "1");
            let url = url.replace("{sha256}", &"0".repeat(64));
            let url = url.replace("{code}", "internal").replace("{token}", "shop");
            let answer = match method.as_str() {
                // It does not end.
                "get" if path == "/v1/live" => continue,
                "get" => server.get(&url, &[]),
                "post" if url.contains("/spins/") => continue,
                "post" => server.post(&url, &[("content-type", "application/json")], b"{}"),
                "put" => server.request("PUT", &url, &[], b"{}"),
                "delete" => server.delete(&url, &[]),
                other => panic!("{other} {path}"),
            };
            let is_found = answer.status != 405
                && !String::from_utf8_lossy(&answer.body).contains("/problems/not_found");
            assert!(is_found, "{method} {path}: {answer:?}");
        }
    }
}

/// The routes in a folder of sources.
fn routes(folder: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            routes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let first = text.split(".route(").skip(1).filter_map(|after| after.split('"').nth(1));
            found.extend(first.filter(|text| text.starts_with('/')).map(str::to_owned));
        }
    }
}

#[test]
fn every_route_is_described() {
    let document = document(&Running::start());
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    routes(&sources, &mut found);
    assert!(found.len() > 25, "{found:?}");
    for route in found {
        // The page is not for programs, and each function has a path of its own.
        if route != "/" && route != "/v1/functions/{name}/call" {
            assert!(document["paths"].get(&route).is_some(), "{route} is not described");
        }
    }
}

#[test]
fn every_error_is_a_problem_document() {
    let document = document(&running());
    let add = &document["paths"]["/v1/functions/add/call"]["post"];
    for code in wpc_host::ErrorCode::ALL {
        let status = code.http_status();
        let reference = format!("#/components/responses/problem_{status}");
        assert_eq!(add["responses"][status.to_string()], json!({ "$ref": reference }), "{code}");
        let response = &document["components"]["responses"][format!("problem_{status}")];
        let content = &response["content"]["application/problem+json"]["schema"];
        assert_eq!(*content, json!({ "$ref": "#/components/schemas/Problem" }));
        assert!(response["description"].as_str().unwrap().contains(code.as_str()));
    }
}

#[test]
fn an_unusual_name_is_encoded_in_the_path_and_has_an_id_of_its_own() {
    let server = Running::start();
    for name in ["get-answer", "get/answer", "a{b}#c?d e%"] {
        let wasm = format!("(module (func (export {name:?}) (result i32) i32.const 42))");
        server.wpc.define_worker_module(wat::parse_str(&wasm).unwrap()).unwrap();
    }
    let document = document(&server);
    let mut ids = Vec::new();
    for path in document["paths"].as_object().unwrap().keys() {
        if !path.contains("answer") && !path.contains("a%7Bb") {
            continue;
        }
        let answer = server.post(path, &[("content-type", "application/json")], b"{}");
        assert_eq!((answer.status, answer.json()), (200, json!(42)), "{path}");
        let id = document["paths"][path]["post"]["operationId"].as_str().unwrap();
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{id}");
        ids.push(id.to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[test]
fn the_document_follows_the_definitions() {
    let server = Running::start();
    let first = server.get("/openapi.json", &[]);
    let etag = first.header("etag").to_owned();
    let unchanged = server.get("/openapi.json", &[("if-none-match", &etag)]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    server.wpc.define_worker_function("nothing", crate::harness::guest("sdk")).unwrap();
    let changed = server.get("/openapi.json", &[("if-none-match", &etag)]);
    assert_eq!(changed.status, 200);
    assert!(changed.json()["paths"].get("/v1/functions/nothing/call").is_some());
}

#[test]
fn a_document_of_many_functions_is_sent_once() {
    let server = Running::start();
    let sdk = crate::harness::guest("sdk").export("order");
    for number in 0..1000 {
        server.wpc.define_worker_function(&format!("order_{number}"), sdk.clone()).unwrap();
    }
    let first = server.get("/openapi.json", &[]);
    assert!(first.json()["paths"].get("/v1/functions/order_999/call").is_some());
    let unchanged = server.get("/openapi.json", &[("if-none-match", first.header("etag"))]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(server.get("/openapi.json", &[]).body, first.body);
}

#[test]
fn types_of_one_name_with_different_structures_are_different_components() {
    let server = Running::start();
    for (name, ty) in [("one", "Point { x: f64 }"), ("two", "Point { x: f64, y: f64 }")] {
        let module = values::echo(&format!("(it: {ty}) -> {ty}"));
        server.wpc.define_worker_function(name, module.export("echo")).unwrap();
    }
    let document = document(&server);
    let of = |function| body_schema(&document, function)["properties"]["it"]["$ref"].clone();
    assert_eq!(of("one"), "#/components/schemas/Point");
    let other = of("two");
    let other = other.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
    assert!(other.starts_with("Point_"), "{other}");
    let required = &document["components"]["schemas"][other]["required"];
    assert_eq!(*required, json!(["x", "y"]));
}

#[test]
fn huge_types_make_a_small_document() {
    let server = Running::start();
    let fields: String =
        (0..5000).map(|n| format!("field_number_{n}: Vec<(u8, String)>, ")).collect();
    let module = values::echo(&format!("(it: Huge {{ {fields} }}) -> ()"));
    server.wpc.define_worker_function("huge", module.export("echo")).unwrap();
    let before = server.get("/openapi.json", &[]).body.len();
    assert!(before < 400_000, "{before}");
}

#[test]
fn an_example_of_arguments_is_accepted_by_its_function() {
    let server = running();
    let document = document(&server);
    let mut examples = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        let is_call = path.ends_with("/call") && !path.contains("/spins/");
        let Some(example) = content.get("example").filter(|_| is_call) else { continue };
        let body = serde_json::to_vec(example).unwrap();
        let headers = [("content-type", "application/json"), ("accept", "*/*")];
        let answer = server.post(path, &headers, &body);
        // Some functions return errors or yield items, and some reject values of their types themselves.
        let problem = if answer.status == 200 { json!({ "code": "ok" }) } else { answer.json() };
        let is_expected = match problem["code"].as_str().unwrap() {
            "bad_arguments" => problem["wpc_call_id"].is_u64(),
            code => ["ok", "guest_error", "trap", "yields_items"].contains(&code),
        };
        assert!(is_expected, "{path}: {example}: {problem}");
        examples += 1;
    }
    assert!(examples >= 10, "{examples}");
    let order = &document["paths"]["/v1/functions/order/call"]["post"]["requestBody"];
    assert_eq!(
        order["content"]["application/json"]["example"],
        json!({
            "orders": [{ "item": "text", "count": 1, "note": "text" }],
            "prices": { "key": 1 },
        })
    );
}

#[test]
fn numbers_beyond_128_bits_are_not_described() {
    let server = Running::start();
    let module = values::echo("(it: u128) -> u128");
    server.wpc.define_worker_function("mirror", module.export("echo")).unwrap();
    let largest = u128::MAX.to_string();
    assert_eq!(server.call("mirror", &json!([largest])).json(), json!(largest));
    let beyond = "340282366920938463463374607431768211456";
    assert_eq!(server.call("mirror", &json!([beyond])).json()["code"], "bad_arguments");
    let document = document(&server);
    let pattern = &body_schema(&document, "mirror")["properties"]["it"]["pattern"];
    let pattern = pattern.as_str().unwrap();
    assert!(pattern.starts_with("^(0|[1-9][0-9]{0,37}|(?:[1-2][0-9]{38}|3(?:[0-3][0-9]{37}|4"));
}
