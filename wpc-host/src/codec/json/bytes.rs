//! Values that are one byte sequence or string, passed as their content instead of as JSON.

use super::is_text;
use crate::error::counted;
use postcard_schema::schema::owned::{OwnedDataModelType as Type, OwnedNamedType};
use wpc_abi::reply::length;
use wpc_abi::section::Signature;
use wpc_abi::text::type_text;

/// Whether the type's values are byte sequences or strings.
pub(crate) fn is_bytes(named: &OwnedNamedType) -> bool {
    match &named.ty {
        Type::String | Type::ByteArray => true,
        Type::Seq(item) => matches!(item.ty, Type::U8),
        Type::NewtypeStruct(inner) => is_bytes(inner),
        _ => false,
    }
}

/// Encodes the only argument of a function, whose content is `bytes`.
pub(crate) fn encode_bytes(signature: &Signature, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let [argument] = signature.arguments.as_slice() else {
        let count = counted(signature.arguments.len(), "argument");
        return Err(format!(
            "bytes or text can be passed only to a function with one argument, and this one has {count}; pass JSON"
        ));
    };
    match &argument.ty {
        Some(ty) if is_bytes(ty) => {
            if is_text(ty) && std::str::from_utf8(&bytes).is_err() {
                return Err(format!(
                    "`{}` is a string, and the bytes are not UTF-8",
                    argument.name
                ));
            }
        }
        Some(ty) => {
            let (name, ty) = (&argument.name, type_text(ty));
            return Err(format!("`{name}` is `{ty}`; expected a byte sequence or a string"));
        }
        None => return Err(format!("the type of `{}` is not declared", argument.name)),
    }
    let (length, used) = length(bytes.len());
    let mut encoded = Vec::with_capacity(used + bytes.len());
    encoded.extend_from_slice(&length[..used]);
    encoded.extend_from_slice(&bytes);
    Ok(encoded)
}

/// The content of an encoded byte sequence.
pub(crate) fn bytes_of(mut encoded: Vec<u8>) -> Result<Vec<u8>, String> {
    let (content, rest) =
        postcard::take_from_bytes::<&[u8]>(&encoded).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(counted(rest.len(), "trailing byte"));
    }
    let start = encoded.len() - content.len();
    encoded.drain(..start);
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wpc_abi::text::parse_signature;

    #[test]
    fn bytes_round_trip_as_the_only_argument() {
        for ty in ["Vec<u8>", "String"] {
            let signature = parse_signature("f", &format!("(a: {ty}) -> ()")).unwrap();
            for length in [0, 1, 127, 128, 70_000] {
                let content = vec![b'x'; length];
                let encoded = encode_bytes(&signature, content.clone()).unwrap();
                assert_eq!(bytes_of(encoded).unwrap(), content);
            }
        }
    }

    #[test]
    fn bytes_are_refused_where_they_do_not_fit() {
        let refused = |signature: &str, bytes: &[u8]| {
            let signature = parse_signature("f", signature).unwrap();
            encode_bytes(&signature, bytes.to_vec()).unwrap_err()
        };
        assert!(refused("() -> ()", b"").contains("0 arguments"));
        assert!(refused("(a: Vec<u8>, b: u8) -> ()", b"").contains("2 arguments"));
        assert!(refused("(a: u32) -> ()", b"").contains("`a` is `u32`"));
        assert!(refused("(a: String) -> ()", &[0xff]).contains("not UTF-8"));
        assert!(bytes_of(vec![5, 1]).is_err());
        assert_eq!(bytes_of(vec![1, 1, 1]).unwrap_err(), "1 trailing byte");
    }
}
