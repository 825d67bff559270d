//! Modules that are malformed, too large, unsupported, or trap.

use super::{attack, attack_by, hostile};
use crate::support::{code, immediate_restarts, pool, pool_with, wat};
use wpc_host::WasmModule;

#[test]
fn start_traps() {
    attack("start-traps").ends_with("initialisation");
}

#[test]
fn init_hook_traps() {
    attack("init-hook-traps").ends_with("initialisation");
}

#[test]
fn data_outside() {
    attack("data-outside").ends_with("initialisation");
}

#[test]
fn elements_outside() {
    attack("elements-outside").ends_with("initialisation");
}

#[test]
fn divides_by_zero() {
    attack("divides-by-zero").ends_with("trap");
}

#[test]
fn calls_null() {
    attack("calls-null").ends_with("trap");
}

#[test]
fn reads_outside() {
    attack("reads-outside").ends_with("trap");
}

#[test]
fn exception_escapes() {
    attack("exception-escapes").ends_with("uncaught_exception");
}

#[test]
fn uses_memory64() {
    attack("uses-memory64").rejected_with("unsupported_proposal");
}

#[test]
fn uses_shared_memory() {
    attack("uses-shared-memory").rejected_with("unsupported_proposal");
}

#[test]
fn uses_two_memories() {
    attack("uses-two-memories").rejected_with("unsupported_proposal");
}

#[test]
fn uses_garbage_collection() {
    attack("uses-garbage-collection").rejected_with("unsupported_proposal");
}

#[test]
fn imports_a_memory() {
    attack("imports-a-memory").ends_with("dependency_not_defined");
}

#[test]
fn traps_with_its_lock_held() {
    for _ in 0..2 {
        attack("traps-with-its-lock-held").ends_with("trap");
    }
    let wpc = pool_with(1, immediate_restarts());
    wpc.define_worker_function("f", hostile("traps-with-its-lock-held")).unwrap();
    for _ in 0..3 {
        assert_eq!(
            code(wpc.call::<()>("f", ())),
            "trap",
            "each call has a fresh sandbox, whose lock is free"
        );
    }
}

#[test]
fn depends_on_itself() {
    attack("depends-on-itself").run(|wpc, module, _| {
        assert_eq!(code(wpc.define_worker_dependency("self", module)), "dependency_cycle");
    });
}

/// A module with an empty function `f` and a custom section of this name and size.
fn with_section(name: &str, size: usize) -> WasmModule {
    let mut bytes = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    let leb = |mut value: usize, bytes: &mut Vec<u8>| {
        while value >= 128 {
            bytes.push(u8::try_from(value % 128).unwrap() | 128);
            value /= 128;
        }
        bytes.push(u8::try_from(value).unwrap());
    };
    bytes.push(0);
    leb(1 + name.len() + size, &mut bytes);
    leb(name.len(), &mut bytes);
    bytes.extend(name.as_bytes());
    bytes.resize(bytes.len() + size, 1);
    WasmModule::new(bytes)
}

#[test]
fn huge_custom_sections() {
    attack_by(with_section("wpc", 8 << 20)).rejected_with("malformed_section");
    attack_by(with_section("junk", 8 << 20)).ends_with("value");
    attack_by(with_section("junk", 65 << 20)).rejected_with("module_too_large");
}

#[test]
fn deep_dependency_chains() {
    let link = |next: &str| {
        wat(&format!(r#"(module (import "{next}" "f" (func $f)) (func (export "f") (call $f)))"#))
    };
    let chain = |length: usize| {
        attack_by(link("a0")).given(move |wpc| {
            let end = wat(r#"(module (func (export "f")))"#);
            wpc.define_worker_dependency(&format!("a{length}"), end).unwrap();
            for at in (0..length).rev() {
                let next = link(&format!("a{}", at + 1));
                wpc.define_worker_dependency(&format!("a{at}"), next).unwrap();
            }
        })
    };
    chain(50).ends_with("value");
    chain(100).rejected_with("too_many_instances");
}

#[test]
fn ten_thousand_exports() {
    let functions: String = (0..10_000)
        .map(|at| format!(r#"(func (export "f{at}") (result i32) i32.const {at})"#))
        .collect();
    let module = wat(&format!(r#"(module (func (export "f")) {functions})"#));
    attack_by(module.clone()).ends_with("value");
    let wpc = pool(1);
    assert_eq!(wpc.define_worker_module(module).unwrap().len(), 10_001);
    assert_eq!(wpc.call::<i32>("f9999", ()).unwrap(), 9999);
}
