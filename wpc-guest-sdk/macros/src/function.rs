//! `#[wpc::function]` and `#[wpc::init]`: the export that decodes the arguments, calls the function and encodes its result,
//! and the records that declare the function's types and its documentation.

use crate::mistakes::Mistakes;
use crate::types::{
    Value, comments, error_type, is_result, schema, schemas, value_type, with_lifetimes,
};
use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Item, ItemFn, Lit, LitStr, Meta, ReturnType, Token, Type};

/// A setting of `#[wpc::function]`.
enum Setting {
    /// `name = "exported_name"`
    Name(LitStr),
    /// `yields = Type`
    Yields(Type),
    Unknown(Ident),
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(if key == "name" {
            Self::Name(input.parse()?)
        } else if key == "yields" {
            Self::Yields(input.parse()?)
        } else {
            input.parse::<Expr>()?;
            Self::Unknown(key)
        })
    }
}

/// The parsed function.
struct Function<'a> {
    item: &'a ItemFn,
    export: String,
    arguments: Vec<(Ident, Type)>,
    /// The type of the items that it yields.
    items: Option<Type>,
}

pub(crate) fn expand(attribute: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let item = match syn::parse2::<Item>(tokens.clone()) {
        Ok(Item::Fn(item)) => item,
        Ok(other) => {
            mistakes.add(other, "`#[wpc::function]` can only be applied to a function");
            return with_mistakes(tokens, mistakes);
        }
        Err(error) => {
            mistakes.add_error(error);
            return with_mistakes(tokens, mistakes);
        }
    };
    let (export, items) = settings(attribute, &item, &mut mistakes);
    let arguments = mistakes.arguments(&item.sig);
    let expansion = Function { item: &item, export, arguments, items }.expansion();
    match mistakes.into_tokens() {
        Some(errors) => quote! { #tokens #errors },
        None => quote! { #tokens #expansion },
    }
}

pub(crate) fn expand_init(attribute: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let item = match syn::parse2::<ItemFn>(tokens.clone()) {
        Ok(item) => item,
        Err(_) => {
            mistakes.add(&tokens, "`#[wpc::init]` can only be applied to a function");
            return with_mistakes(tokens, mistakes);
        }
    };
    if !attribute.is_empty() {
        mistakes.add(&attribute, "`#[wpc::init]` takes no settings");
    }
    if !item.sig.inputs.is_empty() {
        mistakes.add(
            &item.sig.inputs,
            "an init hook takes no arguments: the host calls it without any",
        );
    }
    mistakes.arguments(&item.sig);
    let init = Function {
        item: &item,
        export: wpc_abi::names::INIT_EXPORT.to_owned(),
        arguments: Vec::new(),
        items: None,
    };
    let (bounds, reply, function) = (init.bounds(), init.reply(), &item.sig.ident);
    let expansion = quote! {
        const _: () = {
            #bounds
            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = "wpc_init")]
            extern "C" fn __wpc_init() -> u64 {
                #[allow(unused_imports, reason = "unused for some result types")]
                use ::wpc::__private::ReplyOfAny as _;
                let result = #function();
                #reply
            }
        };
    };
    match mistakes.into_tokens() {
        Some(errors) => quote! { #tokens #errors },
        None => quote! { #tokens #expansion },
    }
}

/// Keeps the author's item, so that a mistake does not also cause "not found" errors at its uses.
fn with_mistakes(tokens: TokenStream, mistakes: Mistakes) -> TokenStream {
    let errors = mistakes.into_tokens();
    quote! { #tokens #errors }
}

/// The name of the export, and the type of items.
fn settings(
    attribute: TokenStream,
    item: &ItemFn,
    mistakes: &mut Mistakes,
) -> (String, Option<Type>) {
    let ident = &item.sig.ident;
    let mut name = (ident.unraw().to_string(), ident.to_token_stream());
    let mut items = None;
    match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(attribute) {
        Ok(settings) => {
            for setting in settings {
                match setting {
                    Setting::Name(value) => name = (value.value(), value.to_token_stream()),
                    Setting::Yields(ty) => items = Some(ty),
                    Setting::Unknown(key) => mistakes.add(
                        &key,
                        format!(
                            "unknown setting `{key}` of `#[wpc::function]`; expected `name = \"…\"` or `yields = Type`"
                        ),
                    ),
                }
            }
        }
        Err(error) => mistakes.add_error(syn::Error::new(
            error.span(),
            "expected `#[wpc::function]`, `#[wpc::function(name = \"…\")]` or `#[wpc::function(yields = Type)]`",
        )),
    }
    mistakes.check_name("function", &name.0, name.1);
    (name.0, items)
}

impl Function<'_> {
    fn expansion(&self) -> TokenStream {
        let entry = self.entry();
        let record = self.record();
        let documentation = self.documentation();
        let bounds = self.bounds();
        quote! {
            const _: () = {
                #bounds
                #[cfg(target_arch = "wasm32")]
                const _: () = { #entry #record #documentation };
            };
        }
    }

    fn entry(&self) -> TokenStream {
        let Self { item, export, arguments, .. } = self;
        let function = &item.sig.ident;
        // The arguments get generated names, because an argument may have the name of the function.
        let names =
            (0..arguments.len()).map(|at| format_ident!("__wpc_argument{at}")).collect::<Vec<_>>();
        let types = arguments.iter().map(|(_, ty)| with_lifetimes(ty, "'_")).collect::<Vec<_>>();
        let reply = self.reply();
        let call = quote! { #function(#(#names),*) };
        let call = match self.static_items() {
            Some(ty) => quote! { ::wpc::__private::yielding::<#ty, _>(|| #call) },
            None => call,
        };
        // The name of an export is also a linker symbol: without the prefix a function named `read` would replace the
        // one of the C library.
        let symbol = format!("{}{export}", wpc_abi::names::FUNCTION_EXPORT_PREFIX);
        quote! {
            #[unsafe(export_name = #symbol)]
            extern "C" fn __wpc_entry(__wpc_ptr: *const u8, __wpc_len: usize) -> u64 {
                let __wpc_scope = ();
                // SAFETY: the host passes the part of the buffer that it wrote, and the scope is a local of this
                // function.
                #[allow(unused_mut, reason = "unused without arguments")]
                let mut __wpc_rest =
                    unsafe { ::wpc::__private::arguments(&__wpc_scope, __wpc_ptr, __wpc_len) };
                #[allow(unused_imports, reason = "unused for some types")]
                use ::wpc::__private::{ReplyOfAny as _, TakeAny as _};
                #(
                    let #names: #types = match <::wpc::__private::Probe<#types>>::take(&mut __wpc_rest) {
                        ::core::result::Result::Ok(argument) => argument,
                        ::core::result::Result::Err(error) => {
                            return ::wpc::__private::reply_bad_arguments(&error);
                        }
                    };
                )*
                if !__wpc_rest.is_empty() {
                    return ::wpc::__private::reply_left_over(__wpc_rest);
                }
                let result = #call;
                #reply
            }
        }
    }

    /// The type of items, with `'static` for elided lifetimes.
    fn static_items(&self) -> Option<Type> {
        self.items.as_ref().map(|ty| with_lifetimes(ty, "'static"))
    }

    /// The conversion of `result` into a reply.
    fn reply(&self) -> TokenStream {
        let Self { item, export, .. } = self;
        match &item.sig.output {
            ReturnType::Type(_, ty) if is_result(ty) => quote! {
                match result {
                    ::core::result::Result::Ok(value) => ::wpc::__private::Value(value).into_reply(),
                    ::core::result::Result::Err(error) => {
                        let location = concat!(#export, " at ", file!(), ":", line!());
                        let error = ::wpc::__private::guest_error!(error, location);
                        ::wpc::__private::reply_error(&error)
                    }
                }
            },
            _ => quote! { ::wpc::__private::Value(result).into_reply() },
        }
    }

    fn record(&self) -> TokenStream {
        let export = &self.export;
        let arguments = schemas(&self.arguments);
        let result = match value_type(&self.item.sig.output) {
            Value::Unit => quote! { ::wpc::__private::Probe::<()>::SCHEMA },
            Value::Type(ty) => schema(ty),
            Value::Hidden => quote! { ::core::option::Option::None },
        };
        let error = match &self.item.sig.output {
            ReturnType::Type(_, ty) => error_type(ty).map(schema),
            ReturnType::Default => None,
        };
        let none = quote! { ::core::option::Option::None };
        let error = error.unwrap_or_else(|| none.clone());
        let items = match &self.items {
            Some(ty) => {
                let schema = schema(ty);
                quote! { ::core::option::Option::Some(#schema) }
            }
            None => none,
        };
        // The prefix of the constants avoids a conflict with constants in the author's types, such as `[u8; BYTES]`.
        quote! {
            use ::wpc::__private::NoSchema as _;
            const __WPC_RECORD: ::wpc::__private::Record<'static> = ::wpc::__private::Record::Function {
                name: #export,
                arguments: #arguments,
                result: #result,
                error: ::wpc::__private::error_schema(#error),
                items: #items,
            };
            #[used]
            #[unsafe(link_section = "wpc")]
            static __WPC_BYTES: [u8; __WPC_RECORD.encoded_len()] = __WPC_RECORD.encode();
        }
    }

    /// The doc comments of the function and of its types, in the section for documentation.
    fn documentation(&self) -> TokenStream {
        let export = &self.export;
        let lines = self.item.attrs.iter().filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
                Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) => Some(line),
                _ => None,
            },
            _ => None,
        });
        let output = &self.item.sig.output;
        let value = match value_type(output) {
            Value::Type(ty) => Some(ty),
            Value::Unit | Value::Hidden => None,
        };
        let error = match output {
            ReturnType::Type(_, ty) => error_type(ty),
            ReturnType::Default => None,
        };
        let types = self.arguments.iter().map(|(_, ty)| ty);
        let types = types.chain(value).chain(error).chain(&self.items);
        let types = types.map(comments);
        quote! {
            const __WPC_COMMENTS: ::wpc::__private::FunctionComments<'static> =
                ::wpc::__private::FunctionComments {
                    function: #export,
                    lines: &[#(#lines),*],
                    types: &[#(#types),*],
                };
            #[used]
            #[unsafe(link_section = "wpc.docs")]
            static __WPC_DOCS: [u8; __WPC_COMMENTS.encoded_len()] = __WPC_COMMENTS.encode();
        }
    }

    /// Requires the traits that the entry needs, so that an error is reported at the type that lacks one.
    fn bounds(&self) -> TokenStream {
        let function = &self.item.sig.ident;
        let arguments = self.arguments.iter().map(|(_, ty)| {
            let ty_static = with_lifetimes(ty, "'static");
            quote_spanned! { ty.span() => ::wpc::__private::is_argument::<#ty_static>(); }
        });
        let result = match &self.item.sig.output {
            ReturnType::Default => TokenStream::new(),
            ReturnType::Type(_, ty) => {
                let ty_static = with_lifetimes(ty, "'static");
                let value = match value_type(&self.item.sig.output) {
                    Value::Type(value) if is_result(ty) => {
                        let value_static = with_lifetimes(value, "'static");
                        quote_spanned! { value.span() => ::wpc::__private::is_result::<#value_static>(); }
                    }
                    Value::Type(_) => {
                        let refuse = quote_spanned! { ty.span() =>
                            assert!(!::wpc::__private::Probe::<#ty_static>::IS_RESULT, "name this alias `Result`, so that its error becomes a guest error");
                        };
                        let encodes = quote_spanned! { ty.span() => ::wpc::__private::is_result::<#ty_static>(); };
                        quote! {
                            #encodes
                            const _: () = {
                                #[allow(unused_imports, reason = "used for types other than `Result`")]
                                use ::wpc::__private::NotAResult as _;
                                #refuse
                            };
                        }
                    }
                    Value::Unit | Value::Hidden => TokenStream::new(),
                };
                let error = match error_type(ty) {
                    Some(error) => {
                        let error_static = with_lifetimes(error, "'static");
                        quote_spanned! { error.span() => ::wpc::__private::is_failure::<#error_static>(); }
                    }
                    None => TokenStream::new(),
                };
                quote! { #value #error }
            }
        };
        let items = self.static_items().map(|ty| {
            quote_spanned! { ty.span() => ::wpc::__private::is_item::<#ty>(); }
        });
        quote! {
            #[allow(dead_code, reason = "only its bounds are checked")]
            fn __wpc_bounds() {
                #items
                #(#arguments)*
                #result
                // Avoids a warning about dead code in native builds, where nothing calls the function.
                #[cfg(not(target_arch = "wasm32"))]
                let _ = #function;
            }
        }
    }
}
