//! Types whose width depends on the machine, as a guest has them: its addresses have 32 bits.
//!
//! postcard writes integers of every width alike, so the bytes are the same.

use syn::visit_mut::VisitMut;
use syn::{Expr, Ident, Type, TypePath};

/// What stands for what in a schema.
const WIDTHS: [(&str, &str); 4] = [
    ("usize", "u32"),
    ("isize", "i32"),
    ("NonZeroUsize", "NonZeroU32"),
    ("NonZeroIsize", "NonZeroI32"),
];

/// The type with a fixed width in the place of each that depends on the machine.
pub(crate) fn portable(ty: &Type) -> Type {
    struct Replace;
    impl VisitMut for Replace {
        fn visit_type_path_mut(&mut self, ty: &mut TypePath) {
            if ty.qself.is_none()
                && let Some(last) = ty.path.segments.last_mut()
                && let Some((_, fixed)) = WIDTHS.iter().find(|(name, _)| last.ident == name)
            {
                last.ident = Ident::new(fixed, last.ident.span());
            }
            syn::visit_mut::visit_type_path_mut(self, ty);
        }

        // The length of an array is a `usize`, and remains one.
        fn visit_expr_mut(&mut self, _: &mut Expr) {}
    }
    let mut ty = ty.clone();
    Replace.visit_type_mut(&mut ty);
    ty
}
