//! Types whose default value the host knows. It has only their schema and does not run the guest.

use syn::Type;

/// The names of these types, without type arguments.
const KNOWN: [&str; 25] = [
    "BTreeMap",
    "BTreeSet",
    "BinaryHeap",
    "HashMap",
    "HashSet",
    "LinkedList",
    "String",
    "Vec",
    "VecDeque",
    "bool",
    "char",
    "f32",
    "f64",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "isize",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
];

/// Whether the default is zero, `false` or empty, judged by the type's name.
pub(crate) fn is_known(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_known(&group.elem),
        Type::Paren(paren) => is_known(&paren.elem),
        Type::Path(path) if path.qself.is_none() => {
            let last = path.path.segments.last();
            last.is_some_and(|last| KNOWN.iter().any(|known| last.ident == known))
        }
        _ => false,
    }
}
