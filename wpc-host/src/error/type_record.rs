//! Serializes the type of a payload. Binary formats contain it as a record of a module's section, because the reader of these
//! records bounds the nesting of types. A recursive reader without a bound could overflow its stack.

use postcard_schema::schema::owned::OwnedNamedType;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wpc_abi::section::{Constant, Section};

pub(super) fn serialize<S: Serializer>(
    ty: &Option<OwnedNamedType>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return ty.serialize(serializer);
    }
    let record = ty.clone().map(|ty| Constant::new("", Some(ty)).record());
    record.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OwnedNamedType>, D::Error> {
    if deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    let Some(record) = Option::<Vec<u8>>::deserialize(deserializer)? else { return Ok(None) };
    let mut section = Section::default();
    section.read(&record).map_err(D::Error::custom)?;
    Ok(section.constants.pop().and_then(|constant| constant.ty))
}
