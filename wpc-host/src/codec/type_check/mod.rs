//! Compares the Rust types of a call by name with the types that the function declares.
//!
//! * A value shows its type only while it is serialized, so arguments are compared while they are encoded. This continues
//!   until values of the type have covered all declared parts; an empty list, for example, has no item to compare.
//! * A result's type is compared before the call, by decoding sample values of the declared type. If the type rejects the
//!   samples, each reply is compared while it is decoded.
//! * A pair of argument and result types that is proven to match is stored with the function, which a redefinition
//!   replaces. Arguments with structs are never proven: serde does not distinguish a struct from a variant of an untagged
//!   enum, whose next value may have another shape.

mod arguments;
mod position;
mod result;
mod rust_type;
mod sample;

use crate::error::Error;
pub(crate) use arguments::Checked;
use position::{Mismatch, Part, Step, Trace, every_part};
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, TryLockError};
use wpc_abi::section::Signature;

/// How many pairs of types are stored for a function. Calls with further pairs, as generic code may have, are compared each
/// time. Only calls whose types match add one, so calls with wrong types do not use up the capacity.
const MAX_PAIRS: usize = 32;

/// The declared types of a function, and the types with which it was called.
#[derive(Debug, Default)]
pub(crate) struct TypeCheck {
    /// `None` if the module declares no types.
    declared: OnceLock<Option<Arc<Declared>>>,
    /// The first node of a list that only grows, so that it can be read without a lock.
    first: OnceLock<Box<Pair>>,
}

/// The types of a call's arguments and result, and what is proven about them.
#[derive(Debug)]
struct Pair {
    types: TypeId,
    is_proven: AtomicBool,
    is_result_proven: bool,
    /// The addresses of the declared parts that values have covered so far.
    seen: Mutex<HashSet<usize>>,
    next: OnceLock<Box<Pair>>,
}

/// The declared signature. [`Type::Schema`] stands for an undeclared type.
#[derive(Debug)]
pub(crate) struct Declared {
    arguments: OwnedNamedType,
    names: Vec<String>,
    result: Option<OwnedNamedType>,
    items: Option<OwnedNamedType>,
}

impl Declared {
    fn new(signature: &Signature) -> Self {
        let types = signature.arguments.iter();
        let types = types
            .map(|argument| argument.ty.clone().unwrap_or_else(|| OwnedNamedType::clone(&UNKNOWN)))
            .collect();
        let is_known = |result: &OwnedNamedType| {
            every_part(result, &mut |part| {
                !matches!(part, Part::Type(OwnedNamedType { ty: Type::Schema, .. }))
            })
        };
        Self {
            arguments: OwnedNamedType { name: "arguments".to_owned(), ty: Type::Tuple(types) },
            names: signature.arguments.iter().map(|argument| argument.name.clone()).collect(),
            result: signature.result.clone().filter(is_known),
            items: signature.items.ty().cloned().filter(is_known),
        }
    }

    /// Decodes the value of a reply, and compares its type with the declared one.
    pub(crate) fn decode<R: DeserializeOwned>(
        &self,
        function: &str,
        encoded: &[u8],
    ) -> Result<R, Error> {
        decode(function, "result", self.result.as_ref(), encoded)
    }
}

/// Decodes a value and compares its type with the declared one.
fn decode<T: DeserializeOwned>(
    function: &str,
    part: &str,
    declared: Option<&OwnedNamedType>,
    encoded: &[u8],
) -> Result<T, Error> {
    let trace = Trace::default();
    let value = match declared {
        Some(declared) => result::decode(encoded, declared, &trace).map_err(|error| error.0),
        None => crate::codec::decode::decode(encoded),
    };
    match trace.take_mismatch() {
        Some(mismatch) => Err(part_error(function, part, mismatch)),
        None => value.map_err(|reason| Error::ResultDecode {
            function: function.to_owned(),
            wanted: std::any::type_name::<T>(),
            reason,
        }),
    }
}

impl TypeCheck {
    /// Whether calls with these argument types and a result `R` are proven to match.
    #[inline]
    pub(crate) fn covers<A, R>(&self, _: &A) -> bool {
        self.find(typeid::of::<(A, R)>()).is_some_and(|pair| pair.is_proven.load(Ordering::Acquire))
    }

    #[inline]
    fn find(&self, types: TypeId) -> Option<&Pair> {
        let mut next = self.first.get();
        while let Some(pair) = next {
            if pair.types == types {
                return Some(pair);
            }
            next = pair.next.get();
        }
        None
    }

    /// The pair of these types, which is added unless the limit is reached.
    fn find_or_add(&self, types: TypeId, is_proven: bool, is_result_proven: bool) -> Option<&Pair> {
        let pair = || {
            let (seen, next) = Default::default();
            let is_proven = AtomicBool::new(is_proven);
            Box::new(Pair { types, is_proven, is_result_proven, seen, next })
        };
        let mut next = &self.first;
        for _ in 0..MAX_PAIRS {
            // Another thread may add a pair of other types at this position; then the next position is free.
            let found = next.get_or_init(pair);
            if found.types == types {
                return Some(found);
            }
            next = &found.next;
        }
        None
    }

    fn declared(&self, signature: Option<&Signature>) -> Option<&Arc<Declared>> {
        let declare = || signature.map(|signature| Arc::new(Declared::new(signature)));
        self.declared.get_or_init(declare).as_ref()
    }

    /// Returns the decoder of the items that the function `name` yields. It compares their type with the declared one: once, if
    /// that proves it; otherwise in each item, until it is proven.
    #[cold]
    pub(crate) fn items<T: DeserializeOwned + 'static>(
        &self,
        name: &Arc<str>,
        signature: Option<&Signature>,
    ) -> Result<impl Fn(&[u8]) -> Result<T, Error> + Send + Sync + use<T>, Error> {
        const PART: &str = "items";
        let declared = self
            .declared(signature)
            .and_then(|declared| declared.items.is_some().then(|| Arc::clone(declared)));
        let declared = match declared {
            Some(declared) => {
                let items = declared.items.as_ref().map(sample::proves::<T>).transpose();
                let is_proven = items.map_err(|mismatch| part_error(name, PART, mismatch))?;
                Some(declared).filter(|_| is_proven != Some(true))
            }
            None => None,
        };
        let name = Arc::clone(name);
        Ok(move |item: &[u8]| {
            let declared = declared.as_ref().and_then(|declared| declared.items.as_ref());
            decode(&name, PART, declared, item)
        })
    }

    /// Begins the check of a call to the function `name` by comparing the result's type. `signature` is the declared one.
    #[cold]
    pub(crate) fn begin<'a, A, R: DeserializeOwned>(
        &'a self,
        name: &'a str,
        signature: Option<&Signature>,
    ) -> Result<Check<'a>, Error> {
        let declared = self.declared(signature);
        let types = typeid::of::<(A, R)>();
        if let Some(pair) = self.find(types) {
            let is_result_proven = pair.is_result_proven;
            return Ok(Check { name, declared, pairs: self, types, is_result_proven });
        }
        let is_result_proven = match declared.and_then(|declared| declared.result.as_ref()) {
            Some(result) => sample::proves::<R>(result)
                .map_err(|mismatch| part_error(name, "result", mismatch))?,
            None => true,
        };
        Ok(Check { name, declared, pairs: self, types, is_result_proven })
    }
}

/// The check of one call.
pub(crate) struct Check<'a> {
    name: &'a str,
    declared: Option<&'a Arc<Declared>>,
    pairs: &'a TypeCheck,
    /// The types of the arguments and the result.
    types: TypeId,
    is_result_proven: bool,
}

impl Check<'_> {
    /// The declaration by which the reply must be decoded, if the result's type is not proven.
    pub(crate) fn unproven_result(&self) -> Option<Arc<Declared>> {
        self.declared.filter(|_| !self.is_result_proven).cloned()
    }

    /// Calls `encode` to serialize the arguments, which are compared meanwhile.
    pub(crate) fn arguments<A: Serialize, T, E: From<Error>>(
        &self,
        arguments: &A,
        encode: impl FnOnce(&Checked<'_, A>) -> Result<T, E>,
    ) -> Result<T, E> {
        let trace = Trace::default();
        // Undeclared types are not compared.
        let declared = self.declared.map_or(&*UNKNOWN, |declared| &declared.arguments);
        let done = encode(&Checked::new(arguments, declared, &trace));
        if let (Some(mismatch), Some(declared)) = (trace.take_mismatch(), self.declared) {
            return Err(arguments_error(self.name, declared, mismatch).into());
        }
        if done.is_ok() {
            let (is_proven, is_result_proven) = (self.declared.is_none(), self.is_result_proven);
            let pair = self.pairs.find_or_add(self.types, is_proven, is_result_proven);
            if let Some(pair) = pair.filter(|_| !trace.is_variable()) {
                pair.add_seen(trace.take_seen(), declared);
            }
        }
        done
    }
}

/// An undeclared type.
static UNKNOWN: LazyLock<OwnedNamedType> =
    LazyLock::new(|| OwnedNamedType { name: "?".to_owned(), ty: Type::Schema });

impl Pair {
    /// Adds the parts that a call's arguments covered.
    fn add_seen(&self, parts: HashSet<usize>, declared: &OwnedNamedType) {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(seen)) => seen.into_inner(),
            // A later call will add them.
            Err(TryLockError::WouldBlock) => return,
        };
        seen.extend(parts);
        if self.is_result_proven && every_part(declared, &mut |part| seen.contains(&part.address()))
        {
            self.is_proven.store(true, Ordering::Release);
            *seen = HashSet::new();
        }
    }
}

#[cold]
fn arguments_error(function: &str, declared: &Declared, mismatch: Mismatch) -> Error {
    let Mismatch { mut path, expected, found } = mismatch;
    let (part, hint) = match path.pop() {
        Some(Step::Item(at)) => {
            let name = declared.names.get(at).map_or("", String::as_str);
            let part = format!("parameter {} (`{name}{}`)", at + 1, steps(&path));
            (part, literal_hint(expected.trim_matches('`'), found.trim_matches('`')))
        }
        _ => {
            let is_tuple = found.starts_with("`(");
            let hint = "pass the arguments as a tuple, as in `(value,)`".into();
            ("parameters".to_owned(), (!is_tuple).then_some(hint))
        }
    };
    Error::SignatureMismatch { function: function.to_owned(), part, expected, found, hint }
}

#[cold]
fn part_error(function: &str, part: &str, mismatch: Mismatch) -> Error {
    let Mismatch { path, expected, found } = mismatch;
    let part = match path.as_slice() {
        [] => part.to_owned(),
        path => format!("{part} (`{part}{}`)", steps(path)),
    };
    Error::SignatureMismatch { function: function.to_owned(), part, expected, found, hint: None }
}

/// The path from the outside in.
fn steps(path: &[Step]) -> String {
    path.iter().rev().map(ToString::to_string).collect()
}

/// How to write a literal of the expected type, if the found type is the default of a literal.
fn literal_hint(expected: &str, found: &str) -> Option<Box<str>> {
    const INTEGERS: [&str; 12] =
        ["i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"];
    let literal = match (expected, found) {
        (expected, "i32") if INTEGERS.contains(&expected) => "40",
        ("f32", "f64") | ("f64", "f32") => "0.5",
        ("f32" | "f64", "i32") => "40.0",
        _ => return None,
    };
    Some(format!("write the literal with its type, as in `{literal}{expected}`").into())
}

#[cfg(test)]
mod tests;
