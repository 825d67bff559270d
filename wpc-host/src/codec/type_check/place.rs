//! A place in a declared type, and what a check has found so far.

use super::rust_type;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedVariant,
};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::LazyLock;
use wpc_abi::text::type_text;

/// What a check of one value has found.
#[derive(Debug, Default)]
pub(super) struct Trace {
    mismatch: RefCell<Option<Mismatch>>,
    /// The places that were visited, by address: the declared types do not move.
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

    /// Adds the step that leads to the mismatch, if there is one. Steps are added from the inside out.
    pub(super) fn step(&self, step: impl FnOnce() -> Step) {
        if let Some(mismatch) = &mut *self.mismatch.borrow_mut() {
            mismatch.path.push(step());
        }
    }

    pub(super) fn take_seen(&self) -> HashSet<usize> {
        self.seen.take()
    }

    /// How many places were visited.
    pub(super) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    pub(super) fn has_seen(&self, place: usize) -> bool {
        self.seen.borrow().contains(&place)
    }

    pub(super) fn see(&self, place: usize) {
        // A type of several shapes is never proven.
        if !self.is_variable.get() {
            self.seen.borrow_mut().insert(place);
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
    /// What is declared.
    pub(super) expected: String,
    /// What the caller has.
    pub(super) found: String,
}

/// From a type to a part of it.
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

/// The types differ, and the trace has where.
#[derive(Debug)]
pub(super) struct Differs;

/// A declared type, and the Rust type that a caller has in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) named: &'a OwnedNamedType,
    pub(super) rust: &'static str,
    pub(super) trace: &'a Trace,
}

impl<'a> Place<'a> {
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

    /// Checks a value without parts, of which `found` is the type.
    pub(super) fn scalar(self, found: &Type, name: &'static str) -> Result<(), Differs> {
        let leaf = rust_type::leaf(self.rust);
        let fits = match (self.enter(), found) {
            (Type::Usize, Type::U32) | (Type::Isize, Type::I32) => true,
            // Serde makes a `usize` a `u64`; in a guest it has 32 bits. Both have the same bytes, and the guest
            // refuses what is out of range. A `u64` as such is another type.
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

    /// Whether bytes in one piece are declared.
    pub(super) fn bytes(self) -> Result<(), Differs> {
        match self.enter() {
            Type::ByteArray => Ok(()),
            Type::Seq(item) if Place { named: item, ..self }.enter() == &Type::U8 => Ok(()),
            _ => Err(self.differs("Vec<u8>")),
        }
    }

    pub(super) fn differs(self, found: impl AsRef<str>) -> Differs {
        self.differs_in(format!("`{}`", type_text(self.named)), format!("`{}`", found.as_ref()))
    }

    /// The Rust type as a whole is another one.
    pub(super) fn differs_as_a_whole(self) -> Differs {
        self.differs(rust_type::short(self.rust))
    }

    pub(super) fn differs_in(self, expected: String, found: impl Into<String>) -> Differs {
        let mismatch = Mismatch { path: Vec::new(), expected, found: found.into() };
        // The first one counts.
        self.trace.mismatch.borrow_mut().get_or_insert(mismatch);
        Differs
    }

    /// A part of it.
    pub(super) fn of(self, named: &'a OwnedNamedType, rust: &'static str) -> Self {
        Self { named, rust, trace: self.trace }
    }
}

/// What the items of a `ByteArray` are.
pub(super) static BYTE: LazyLock<OwnedNamedType> =
    LazyLock::new(|| OwnedNamedType { name: "u8".to_owned(), ty: Type::U8 });

/// What stands for a place where it is looked up.
pub(super) fn address<T>(place: &T) -> usize {
    std::ptr::from_ref(place).addr()
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

/// Whether two names are one; a raw identifier's `r#` is not part of it.
pub(super) fn is_named(declared: &str, name: &str) -> bool {
    let plain = |name| str::strip_prefix(name, "r#").unwrap_or(name);
    plain(declared) == plain(name)
}
