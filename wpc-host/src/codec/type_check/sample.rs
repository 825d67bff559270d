//! Sample values of a declared type, by which a result's type is compared before the function runs.

use super::position::{Mismatch, Trace, every_part, every_part_of};
use super::result::decode;
use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType, OwnedNamedVariant,
};
use serde::de::DeserializeOwned;

/// The maximum number of samples for one type. Each covers variants that the ones before did not, but a module may declare
/// enums of any size.
const MAX_SAMPLES: usize = 64;

/// Whether `R` is proven to decode every value of the declared type. False if samples cannot prove it, because `R` rejects
/// their content.
pub(super) fn proves<R: DeserializeOwned>(declared: &OwnedNamedType) -> Result<bool, Mismatch> {
    let trace = Trace::default();
    for _ in 0..MAX_SAMPLES {
        let seen_before = trace.count();
        let mut bytes = Vec::new();
        write(declared, &trace, &mut bytes);
        let decoded = decode::<R>(&bytes, declared, &trace);
        if let Some(mismatch) = trace.take_mismatch() {
            return Err(mismatch);
        }
        if decoded.is_err() || trace.is_variable() {
            return Ok(false);
        }
        if every_part(declared, &mut |part| trace.has_seen(part.address())) {
            return Ok(true);
        }
        if trace.count() == seen_before {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Writes a value that covers every part, with the first variants that were not seen. Numbers are 1, because some types
/// reject 0.
fn write(named: &OwnedNamedType, trace: &Trace, bytes: &mut Vec<u8>) {
    match &named.ty {
        Type::Bool
        | Type::I8
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::U128
        | Type::Usize => {
            bytes.push(1);
        }
        // Postcard's zigzag encoding of 1.
        Type::I16 | Type::I32 | Type::I64 | Type::I128 | Type::Isize => bytes.push(2),
        Type::F32 => bytes.extend(1_f32.to_le_bytes()),
        Type::F64 => bytes.extend(1_f64.to_le_bytes()),
        Type::Char | Type::String | Type::ByteArray => bytes.extend([1, b'a']),
        Type::Unit | Type::UnitStruct | Type::Schema => {}
        Type::NewtypeStruct(inner) => write(inner, trace, bytes),
        Type::Option(inner) | Type::Seq(inner) => {
            bytes.push(1);
            write(inner, trace, bytes);
        }
        Type::Map { key, val } => {
            bytes.push(1);
            write(key, trace, bytes);
            write(val, trace, bytes);
        }
        Type::Tuple(types) | Type::TupleStruct(types) => {
            types.iter().for_each(|ty| write(ty, trace, bytes));
        }
        Type::Struct(fields) => fields.iter().for_each(|field| write(&field.ty, trace, bytes)),
        Type::Enum(variants) => {
            let is_new = |(_, variant): &&(usize, &OwnedNamedVariant)| {
                !every_part_of(variant, &mut |part| trace.has_seen(part.address()))
            };
            let variants: Vec<_> = variants.iter().enumerate().collect();
            let Some((at, variant)) = variants.iter().find(is_new).or(variants.first()) else {
                return;
            };
            let number = u32::try_from(*at).unwrap_or_default();
            bytes.extend(postcard::to_allocvec(&number).unwrap_or_default());
            match &variant.ty {
                Variant::UnitVariant => {}
                Variant::NewtypeVariant(inner) => write(inner, trace, bytes),
                Variant::TupleVariant(types) => {
                    types.iter().for_each(|ty| write(ty, trace, bytes));
                }
                Variant::StructVariant(fields) => {
                    fields.iter().for_each(|field| write(&field.ty, trace, bytes));
                }
            }
        }
    }
}
