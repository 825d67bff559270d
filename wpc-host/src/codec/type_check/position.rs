//! A position in a declared type, and the findings of a check.

use super::rust_type;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedVariant,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::LazyLock;
use wpc_abi::text::type_text;

/// The findings of the check of one value.
#[derive(Debug, Default)]
pub(super) struct Trace {
    mismatch: RefCell<Option<Mismatch>>,
    /// The visited parts of the declared type, by address, which does not change.
    seen: RefCell<HashSet<usize>>,
    /// Whether another value of the same Rust type may have another shape.
    is_variable: Cell<bool>,
}

impl Trace {
    pub(super) fn take_mismatch(&self) -> Option<Mismatch> {
        self.mismatch.take()
    }

    pub(super) fn is_variable(&self) -> bool {
        self.is_variable.get()
    }

    pub(super) fn set_variable(&self) {
        self.is_variable.set(true);
    }

    /// Adds a step to the path of the mismatch, if there is one. Steps are added from the inside out.
    pub(super) fn step(&self, step: impl FnOnce() -> Step) {
        if let Some(mismatch) = &mut *self.mismatch.borrow_mut() {
            mismatch.path.push(step());
        }
    }

    pub(super) fn take_seen(&self) -> HashSet<usize> {
        self.seen.take()
    }

    /// How many parts were visited.
    pub(super) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    pub(super) fn has_seen(&self, position: usize) -> bool {
        self.seen.borrow().contains(&position)
    }

    pub(super) fn see(&self, position: usize) {
        // A type whose values differ in shape is never proven.
        if !self.is_variable.get() {
            self.seen.borrow_mut().insert(position);
        }
    }

    pub(super) fn see_type(&self, named: &OwnedNamedType) {
        self.see(address(named));
    }
}

/// Two types that differ.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// From the inside out.
    pub(super) path: Vec<Step>,
    /// The declared type.
    pub(super) expected: String,
    /// The caller's type.
    pub(super) found: String,
}

/// The step from a type to one of its parts.
#[derive(Debug)]
pub(super) enum Step {
    Item(usize),
    Element(usize),
    Key,
    Value,
    Field(String),
    Variant(String),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Item(at) => write!(f, ".{at}"),
            Self::Element(at) => write!(f, "[{at}]"),
            Self::Key => f.write_str(".key"),
            Self::Value => f.write_str(".value"),
            Self::Field(name) | Self::Variant(name) => write!(f, ".{name}"),
        }
    }
}

/// The types differ, and the trace has the mismatch.
#[derive(Debug)]
pub(super) struct Differs;

/// A declared type, and the caller's Rust type at the same position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<'a> {
    pub(super) named: &'a OwnedNamedType,
    pub(super) rust: &'static str,
    pub(super) trace: &'a Trace,
}

impl<'a> Position<'a> {
    /// The declared type without newtypes, which have no bytes of their own.
    pub(super) fn enter(self) -> &'a Type {
        let mut named = self.named;
        loop {
            self.trace.see_type(named);
            match &named.ty {
                Type::NewtypeStruct(inner) => named = inner,
                ty => return ty,
            }
        }
    }

    /// Checks a value without parts whose type is `found`.
    pub(super) fn scalar(self, found: &Type, name: &'static str) -> Result<(), Differs> {
        let leaf = rust_type::leaf(self.rust);
        let fits = match (self.enter(), found) {
            (Type::Usize, Type::U32) | (Type::Isize, Type::I32) => true,
            // Serde serializes a `usize` as a `u64`, but in a guest it has 32 bits. Both are encoded alike, and the guest
            // rejects a value out of range. A real `u64` is a different type.
            (Type::Usize | Type::U32, Type::U64) => leaf != "u64",
            (Type::Isize | Type::I32, Type::I64) => leaf != "i64",
            (Type::Unit | Type::UnitStruct, Type::Unit) => true,
            (declared, found) => declared == found,
        };
        if fits {
            return Ok(());
        }
        let is_size = matches!(leaf, "usize" | "isize");
        Err(self.differs(if is_size { leaf } else { name }))
    }

    /// Checks that a byte sequence is declared.
    pub(super) fn bytes(self) -> Result<(), Differs> {
        match self.enter() {
            Type::ByteArray => Ok(()),
            Type::Seq(item) if Position { named: item, ..self }.enter() == &Type::U8 => Ok(()),
            _ => Err(self.differs("Vec<u8>")),
        }
    }

    pub(super) fn differs(self, found: impl AsRef<str>) -> Differs {
        self.differs_in(format!("`{}`", type_text(self.named)), format!("`{}`", found.as_ref()))
    }

    /// Reports that the whole types differ.
    pub(super) fn differs_as_a_whole(self) -> Differs {
        self.differs(rust_type::short(self.rust))
    }

    pub(super) fn differs_in(self, expected: String, found: impl Into<String>) -> Differs {
        let mismatch = Mismatch { path: Vec::new(), expected, found: found.into() };
        // Only the first mismatch is reported.
        self.trace.mismatch.borrow_mut().get_or_insert(mismatch);
        Differs
    }

    /// The position of a part.
    pub(super) fn of(self, named: &'a OwnedNamedType, rust: &'static str) -> Self {
        Self { named, rust, trace: self.trace }
    }
}

/// The type of the items of a `ByteArray`.
pub(super) static BYTE: LazyLock<OwnedNamedType> =
    LazyLock::new(|| OwnedNamedType { name: "u8".to_owned(), ty: Type::U8 });

/// The address by which a part is looked up.
pub(super) fn address<T>(position: &T) -> usize {
    std::ptr::from_ref(position).addr()
}

/// A part of a declared type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Type(&'a OwnedNamedType),
    Variant(&'a OwnedNamedVariant),
}

impl Part<'_> {
    pub(super) fn address(self) -> usize {
        match self {
            Part::Type(named) => address(named),
            Part::Variant(variant) => address(variant),
        }
    }
}

/// Whether `test` holds for every part of a type, itself included.
pub(super) fn every_part(named: &OwnedNamedType, test: &mut impl FnMut(Part<'_>) -> bool) -> bool {
    if !test(Part::Type(named)) {
        return false;
    }
    match &named.ty {
        Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => {
            every_part(inner, test)
        }
        Type::Tuple(types) | Type::TupleStruct(types) => {
            types.iter().all(|ty| every_part(ty, test))
        }
        Type::Map { key, val } => every_part(key, test) && every_part(val, test),
        Type::Struct(fields) => fields.iter().all(|field| every_part(&field.ty, test)),
        Type::Enum(variants) => variants.iter().all(|variant| every_part_of(variant, test)),
        _ => true,
    }
}

/// The same for a variant.
pub(super) fn every_part_of(
    variant: &OwnedNamedVariant,
    test: &mut impl FnMut(Part<'_>) -> bool,
) -> bool {
    test(Part::Variant(variant))
        && match &variant.ty {
            Variant::UnitVariant => true,
            Variant::NewtypeVariant(inner) => every_part(inner, test),
            Variant::TupleVariant(types) => types.iter().all(|ty| every_part(ty, test)),
            Variant::StructVariant(fields) => {
                fields.iter().all(|field| every_part(&field.ty, test))
            }
        }
}

/// Whether two names are equal, apart from the `r#` of raw identifiers.
pub(super) fn is_named(declared: &str, name: &str) -> bool {
    let plain = |name| str::strip_prefix(name, "r#").unwrap_or(name);
    plain(declared) == plain(name)
}
