//! Descriptions of what a module imports and exports.

use crate::module::{Convention, MAX_PARAMETERS, Scalar, convention};
use wasmparser::{CompositeInnerType, SubType, TypeRef, ValType};

/// A type in the module's type section.
pub(super) enum Shape {
    Function {
        parameters: Box<[ValType]>,
        results: Box<[ValType]>,
    },
    /// A function type with too many parameters or results to list: the number of each.
    Wide(usize, usize),
    /// Not a function type.
    Other,
}

impl Shape {
    pub(super) fn of(ty: &SubType) -> Self {
        let CompositeInnerType::Func(ty) = &ty.composite_type.inner else { return Self::Other };
        let (parameters, results) = (ty.params(), ty.results());
        if parameters.len() > MAX_PARAMETERS || results.len() > MAX_PARAMETERS {
            return Self::Wide(parameters.len(), results.len());
        }
        Self::Function { parameters: parameters.into(), results: results.into() }
    }

    pub(super) fn convention(&self, has_buffer: bool) -> Option<Convention> {
        let Self::Function { parameters, results } = self else { return None };
        let [parameters, results] =
            [parameters, results].map(|types| types.iter().map(|ty| scalar(*ty)));
        convention(parameters, results, has_buffer)
    }
}

fn scalar(ty: ValType) -> Option<Scalar> {
    match ty {
        ValType::I32 => Some(Scalar::I32),
        ValType::I64 => Some(Scalar::I64),
        ValType::F32 => Some(Scalar::F32),
        ValType::F64 => Some(Scalar::F64),
        _ => None,
    }
}

/// Describes an import or an export.
pub(super) fn describe(types: &[Shape], ty: TypeRef) -> String {
    let list =
        |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    match ty {
        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => match types.get(ty as usize) {
            Some(Shape::Function { parameters, results }) => {
                format!("a function ({}) -> ({})", list(parameters), list(results))
            }
            Some(Shape::Wide(parameters, results)) => {
                format!("a function of {parameters} parameters and {results} results")
            }
            Some(Shape::Other) | None => "a function".to_owned(),
        },
        TypeRef::Table(ty) => format!("a table of {}", ty.element_type),
        TypeRef::Memory(ty) => {
            let shared = if ty.shared { "shared " } else { "" };
            let wide = if ty.memory64 { "64-bit " } else { "" };
            format!("a {shared}{wide}memory")
        }
        TypeRef::Global(ty) => format!("a global of {}", ty.content_type),
        TypeRef::Tag(_) => "a tag".to_owned(),
    }
}
