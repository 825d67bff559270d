//! WebAssembly types: the scalars that plain exports pass, and types as messages name them.

use wasmtime::{ExternType, FuncType, ValType};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    I32,
    I64,
    F32,
    F64,
}

impl Scalar {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    pub(super) fn of(ty: &ValType) -> Option<Self> {
        match ty {
            ValType::I32 => Some(Self::I32),
            ValType::I64 => Some(Self::I64),
            ValType::F32 => Some(Self::F32),
            ValType::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

pub(super) fn is_type(ty: &FuncType, parameters: &[Scalar], results: &[Scalar]) -> bool {
    let equal = |found: &mut dyn Iterator<Item = ValType>, wanted: &[Scalar]| {
        found.map(|ty| Scalar::of(&ty)).eq(wanted.iter().map(|scalar| Some(*scalar)))
    };
    equal(&mut ty.params(), parameters) && equal(&mut ty.results(), results)
}

pub(super) fn scalars(types: &[Scalar]) -> String {
    types.iter().map(|scalar| scalar.name()).collect::<Vec<_>>().join(", ")
}

/// A type as messages name it.
pub(crate) fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(ty) => {
            let list = |types: &mut dyn Iterator<Item = ValType>| {
                types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
            };
            format!("a function ({}) -> ({})", list(&mut ty.params()), list(&mut ty.results()))
        }
        ExternType::Memory(_) => "a memory".to_owned(),
        ExternType::Global(ty) => format!("a global of {}", ty.content()),
        ExternType::Table(_) => "a table".to_owned(),
        ExternType::Tag(_) => "a tag".to_owned(),
    }
}
