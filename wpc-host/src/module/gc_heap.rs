//! Which modules need a GC heap, for exceptions and `externref`; and checks of the sizes of their instances. Sandboxes
//! with such a heap are not in Wasmtime's instance pool, which would check the sizes.

use crate::error::Error;
use wasmparser::{
    AbstractHeapType, CompositeInnerType, ElementItems, HeapType, Parser, Payload, RefType,
    TypeRef, ValType, Validator, WasmFeatures,
};

/// Whether the module's sections show that it needs the heap: it has tags, or one of its types uses exceptions or
/// `externref`. Code is not searched, so other modules take no longer. The result is false for malformed modules.
pub(crate) fn is_declared(bytes: &[u8]) -> bool {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut before_code =
        payloads.take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
    before_code.any(|payload| match payload {
        Payload::TagSection(tags) => tags.count() > 0,
        Payload::TypeSection(groups) => groups.into_iter().flatten().any(|group| {
            let has_any = |types: &[ValType]| types.iter().any(is_collected);
            group.types().any(|ty| match &ty.composite_type.inner {
                CompositeInnerType::Func(function) => {
                    has_any(function.params()) || has_any(function.results())
                }
                _ => false,
            })
        }),
        Payload::ImportSection(imports) => {
            imports.into_imports().flatten().any(|import| match import.ty {
                TypeRef::Tag(_) => true,
                TypeRef::Table(table) => is_collected_reference(table.element_type),
                TypeRef::Global(global) => is_collected(&global.content_type),
                _ => false,
            })
        }
        Payload::TableSection(tables) => {
            tables.into_iter().flatten().any(|table| is_collected_reference(table.ty.element_type))
        }
        Payload::GlobalSection(globals) => {
            globals.into_iter().flatten().any(|global| is_collected(&global.ty.content_type))
        }
        _ => false,
    })
}

fn is_collected(ty: &ValType) -> bool {
    matches!(ty, ValType::Ref(reference) if is_collected_reference(*reference))
}

fn is_collected_reference(reference: RefType) -> bool {
    use AbstractHeapType::{Func, NoFunc};
    matches!(reference.heap_type(), HeapType::Abstract { ty, .. } if !matches!(ty, Func | NoFunc))
}

/// Whether a module that an engine without the heap refused is valid with it.
pub(crate) fn is_needed(bytes: &[u8]) -> bool {
    let is_valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    let all = WasmFeatures::all();
    is_valid(all) && !is_valid(all.difference(WasmFeatures::EXCEPTIONS | WasmFeatures::GC_TYPES))
}

/// The maximum size of an instance without its memory and tables, in bytes, as in Wasmtime's instance pool.
const MAX_INSTANCE_SIZE: usize = 1 << 20;

/// The size of an import in an instance, and of a function that can be referenced, in bytes. Other items are smaller.
const ITEM_SIZE: usize = 32;

/// Checks what Wasmtime's instance pool would check: the number of tables, and the size of instances.
pub(crate) fn check_sizes(what: &str, bytes: &[u8], max_tables: u32) -> Result<(), Error> {
    let refuse = |reason| Err(Error::InvalidModule { what: what.to_owned(), reason });
    let (mut items, mut references, mut functions) = (0_usize, 0_usize, 0_usize);
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports().map_while(Result::ok) {
                    items += 1;
                    // Imported functions can be referenced too.
                    functions += usize::from(matches!(import.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => functions += section.count() as usize,
            Payload::TableSection(tables) if tables.count() > max_tables => {
                let found = tables.count();
                return refuse(format!("it defines {found} tables, but the limit is {max_tables}"));
            }
            Payload::GlobalSection(globals) => {
                items += globals.count() as usize;
                references += globals.count() as usize;
            }
            Payload::TagSection(tags) => items += tags.count() as usize,
            Payload::ExportSection(exports) => references += exports.count() as usize,
            Payload::ElementSection(elements) => {
                for element in elements.into_iter().flatten() {
                    references += match element.items {
                        ElementItems::Functions(functions) => functions.count() as usize,
                        ElementItems::Expressions(_, expressions) => expressions.count() as usize,
                    };
                }
            }
            _ => {}
        }
    }
    let size = (items + references.min(functions)).saturating_mul(ITEM_SIZE);
    if size > MAX_INSTANCE_SIZE {
        return refuse(format!(
            "an instance would need up to {size} bytes in addition to its memory, but the limit is {MAX_INSTANCE_SIZE} bytes; use fewer imports, globals and functions whose references are taken"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wasm(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn declared_exceptions_and_references_are_found_without_the_code() {
        for text in [
            "(module (tag))",
            r#"(module (import "a" "t" (tag)))"#,
            "(module (table 1 externref))",
            "(module (global externref (ref.null extern)))",
            "(module (func (param exnref)))",
            "(module (func (result (ref null noextern)) unreachable))",
            r#"(module (import "a" "g" (global exnref)))"#,
        ] {
            assert!(is_declared(&wasm(text)), "{text}");
            assert!(is_needed(&wasm(text)), "{text}");
        }
        for text in [
            "(module (table 1 funcref) (global i32 (i32.const 0)) (func (param funcref i64)))",
            "(module (type $f (func)) (func (param (ref $f))) (table 1 (ref null $f)))",
            "(module (func (param (ref func))))",
            "(module (func $f) (elem declare func $f))",
        ] {
            assert!(!is_declared(&wasm(text)), "{text}");
            assert!(!is_needed(&wasm(text)), "{text}");
        }
    }

    #[test]
    fn exceptions_only_in_code_are_found() {
        let text = "(module (func (block (try_table (catch_all 0)))))";
        assert!(!is_declared(&wasm(text)));
        assert!(is_needed(&wasm(text)));
    }

    #[test]
    fn instances_have_the_same_bounds_as_in_a_pool() {
        let check = |text: &str| check_sizes("it", &wasm(text), 2);
        assert!(check("(module (table 1 funcref) (table 1 externref))").is_ok());
        let error = check("(module (table 1 funcref) (table 1 funcref) (table 1 funcref))");
        assert!(error.unwrap_err().to_string().contains("3 tables"));
        let globals = |count| format!("(module {})", "(global i32 (i32.const 0))".repeat(count));
        assert!(check(&globals(1_000)).is_ok());
        let error = check(&globals(40_000)).unwrap_err().to_string();
        assert!(error.contains("1280000 bytes"), "{error}");
        let exports: String =
            (0..40_000).map(|at| format!(r#"(export "{at}" (func 0))"#)).collect();
        assert!(check(&format!("(module (func) {exports})")).is_ok());
        let imports = r#"(import "a" "f" (func))"#.repeat(20_000);
        let references: String = (0..20_000).map(|at| format!(" {at}")).collect();
        assert!(check(&format!("(module {imports})")).is_ok());
        let error = check(&format!("(module {imports} (elem func {references}))")).unwrap_err();
        assert!(error.to_string().contains("1280000 bytes"), "{error}");
    }
}
