//! Doc comments of items.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, MetaNameValue};

/// The comments of a type and its items, for a constant.
#[derive(Default)]
pub(crate) struct Comments {
    /// The lines of each item.
    items: Vec<(String, Vec<LitStr>)>,
    /// The types that the type contains.
    parts: Vec<TokenStream>,
}

impl Comments {
    /// Adds the doc comment of an item; its name is empty for the type itself.
    pub(crate) fn add(&mut self, item: String, attributes: &[Attribute]) {
        let lines: Vec<_> = attributes.iter().filter_map(line).collect();
        if !lines.is_empty() {
            self.items.push((item, lines));
        }
    }

    /// Adds the comments of a type that the type contains.
    pub(crate) fn add_part(&mut self, comments: TokenStream) {
        self.parts.push(comments);
    }

    /// The value of the constant.
    pub(crate) fn into_tokens(self, root: &TokenStream, name: &str) -> TokenStream {
        let items = self.items.into_iter().map(|(item, lines)| quote! { (#item, &[#(#lines),*]) });
        let parts = self.parts;
        quote! {
            &#root::__private::Comments {
                name: #name,
                items: &[#(#items),*],
                parts: &[#(#parts),*],
            }
        }
    }
}

/// The text of `#[doc = "…"]`, to which the compiler expands a line of a doc comment.
fn line(attribute: &Attribute) -> Option<LitStr> {
    match &attribute.meta {
        Meta::NameValue(MetaNameValue {
            path,
            value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }),
            ..
        }) if path.is_ident("doc") => Some(text.clone()),
        _ => None,
    }
}
