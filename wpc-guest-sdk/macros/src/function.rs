//! `#[wpc::function]`: the export that decodes, calls and encodes, and the record that tells the
//! function's types.

use crate::mistakes::Mistakes;
use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Ident, Item, ItemFn, Lifetime, LitStr, ReturnType, Token, Type};

/// `name = "exported_name"`
struct Setting {
    key: Ident,
    value: LitStr,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

/// What the expansion needs to know.
struct Function<'a> {
    item: &'a ItemFn,
    export: String,
    arguments: Vec<(Ident, Type)>,
}

pub(crate) fn expand(attribute: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let item = match syn::parse2::<Item>(tokens.clone()) {
        Ok(Item::Fn(item)) => item,
        Ok(other) => {
            mistakes.add(other, "`#[wpc::function]` goes onto a function");
            return with_mistakes(tokens, mistakes);
        }
        Err(error) => {
            mistakes.add_error(error);
            return with_mistakes(tokens, mistakes);
        }
    };
    let export = export_name(attribute, &item, &mut mistakes);
    let arguments = mistakes.arguments(&item.sig);
    let expansion = Function { item: &item, export, arguments }.expansion();
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
            mistakes.add(&tokens, "`#[wpc::init]` goes onto a function");
            return with_mistakes(tokens, mistakes);
        }
    };
    if !attribute.is_empty() {
        mistakes.add(&attribute, "`#[wpc::init]` takes nothing");
    }
    if !item.sig.inputs.is_empty() {
        mistakes.add(&item.sig.inputs, "an init hook takes no arguments: nobody calls it with any");
    }
    mistakes.arguments(&item.sig);
    let init = Function {
        item: &item,
        export: wpc_abi::names::INIT_EXPORT.to_owned(),
        arguments: Vec::new(),
    };
    let (bounds, reply, function) = (init.bounds(), init.reply(), &item.sig.ident);
    let expansion = quote! {
        const _: () = {
            #bounds
            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = "wpc_init")]
            extern "C" fn __wpc_init() -> u64 {
                #[allow(unused_imports, reason = "there may be nothing it is for")]
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

/// The author's own item is kept, so that one mistake does not cause a dozen of «not found».
fn with_mistakes(tokens: TokenStream, mistakes: Mistakes) -> TokenStream {
    let errors = mistakes.into_tokens();
    quote! { #tokens #errors }
}

fn export_name(attribute: TokenStream, item: &ItemFn, mistakes: &mut Mistakes) -> String {
    let ident = &item.sig.ident;
    let mut name = (ident.unraw().to_string(), ident.to_token_stream());
    match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(attribute) {
        Ok(settings) => {
            for Setting { key, value } in settings {
                if key == "name" {
                    name = (value.value(), value.to_token_stream());
                } else {
                    mistakes.add(
                        &key,
                        format!(
                            "`{key}` is no setting of `#[wpc::function]`; there is `name = \"…\"`"
                        ),
                    );
                }
            }
        }
        Err(error) => mistakes.add_error(syn::Error::new(
            error.span(),
            "`#[wpc::function]` takes nothing, or `name = \"…\"`",
        )),
    }
    mistakes.check_name("function", &name.0, name.1);
    name.0
}

impl Function<'_> {
    fn expansion(&self) -> TokenStream {
        let entry = self.entry();
        let record = self.record();
        let bounds = self.bounds();
        quote! {
            const _: () = {
                #bounds
                #[cfg(target_arch = "wasm32")]
                const _: () = { #entry #record };
            };
        }
    }

    fn entry(&self) -> TokenStream {
        let Self { item, export, arguments } = self;
        let function = &item.sig.ident;
        // The author's names stay out of here: an argument may be called like the function.
        let names =
            (0..arguments.len()).map(|at| format_ident!("__wpc_argument{at}")).collect::<Vec<_>>();
        let types = arguments.iter().map(|(_, ty)| with_lifetimes(ty, "'_")).collect::<Vec<_>>();
        let reply = self.reply();
        // The name of an export is the linker's symbol: without the prefix a function called `read` would take the
        // place of the C library's.
        let symbol = format!("{}{export}", wpc_abi::names::FUNCTION_EXPORT_PREFIX);
        quote! {
            #[unsafe(export_name = #symbol)]
            extern "C" fn __wpc_entry(__wpc_ptr: *const u8, __wpc_len: usize) -> u64 {
                let __wpc_scope = ();
                // SAFETY: the host passes the place it filled in the buffer it was given, and the scope is this
                // function's.
                #[allow(unused_mut, reason = "there may be no arguments")]
                let mut __wpc_rest =
                    unsafe { ::wpc::__private::arguments(&__wpc_scope, __wpc_ptr, __wpc_len) };
                #[allow(unused_imports, reason = "there may be none it is for")]
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
                let result = #function(#(#names),*);
                #reply
            }
        }
    }

    /// What becomes of `result`.
    fn reply(&self) -> TokenStream {
        let Self { item, export, .. } = self;
        match &item.sig.output {
            ReturnType::Type(_, ty) if is_result(ty) => quote! {
                match result {
                    ::core::result::Result::Ok(value) => ::wpc::__private::Value(value).into_reply(),
                    ::core::result::Result::Err(error) => {
                        let place = concat!(#export, " at ", file!(), ":", line!());
                        ::wpc::__private::reply_error(&::wpc::__private::guest_error!(error, place))
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
        let error = error.unwrap_or_else(|| quote! { ::core::option::Option::None });
        // The types in it are the author's, whose arrays may be as long as a constant called `BYTES`.
        quote! {
            use ::wpc::__private::NoSchema as _;
            const __WPC_RECORD: ::wpc::__private::Record<'static> = ::wpc::__private::Record::Function {
                name: #export,
                arguments: #arguments,
                result: #result,
                error: ::wpc::__private::error_schema(#error),
            };
            #[used]
            #[unsafe(link_section = "wpc")]
            static __WPC_BYTES: [u8; __WPC_RECORD.encoded_len()] = __WPC_RECORD.encode();
        }
    }

    /// Asks for the traits the entry needs, each at the type that lacks it.
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
                                #[allow(unused_imports, reason = "used by what is no `Result`")]
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
        quote! {
            #[allow(dead_code, reason = "only its bounds are of interest")]
            fn __wpc_bounds() {
                #(#arguments)*
                #result
                // Natively nothing calls the function, which is no reason to warn its author.
                #[cfg(not(target_arch = "wasm32"))]
                let _ = #function;
            }
        }
    }
}

/// The names and schemas of arguments, as a record has them.
pub(crate) fn schemas(arguments: &[(Ident, Type)]) -> TokenStream {
    let arguments = arguments.iter().map(|(name, ty)| {
        let name = name.unraw().to_string();
        let schema = schema(ty);
        quote! { (#name, #schema) }
    });
    quote! { &[#(#arguments),*] }
}

/// A type's schema, if it has one.
pub(crate) fn schema(ty: &Type) -> TokenStream {
    let ty = with_lifetimes(ty, "'static");
    quote! { ::wpc::__private::Probe::<#ty>::SCHEMA }
}

enum Value<'a> {
    Unit,
    Type(&'a Type),
    /// A `Result` alias without type arguments: what it carries cannot be seen from here.
    Hidden,
}

fn value_type(output: &ReturnType) -> Value<'_> {
    let ReturnType::Type(_, ty) = output else { return Value::Unit };
    if !is_result(ty) {
        return Value::Type(ty);
    }
    type_arguments(ty).next().map_or(Value::Hidden, Value::Type)
}

fn error_type(ty: &Type) -> Option<&Type> {
    is_result(ty).then(|| type_arguments(ty).nth(1)).flatten()
}

fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

fn type_arguments(ty: &Type) -> impl Iterator<Item = &Type> {
    let arguments = match ty {
        Type::Path(path) => path.path.segments.last().map(|last| &last.arguments),
        _ => None,
    };
    let arguments = match arguments {
        Some(syn::PathArguments::AngleBracketed(arguments)) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// The type with every lifetime, elided ones too, replaced by `lifetime`.
fn with_lifetimes(ty: &Type, lifetime: &str) -> Type {
    struct Replace(Lifetime);
    impl VisitMut for Replace {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident.clone_from(&self.0.ident);
            }
        }
        fn visit_type_reference_mut(&mut self, reference: &mut syn::TypeReference) {
            reference.lifetime.get_or_insert_with(|| self.0.clone());
            syn::visit_mut::visit_type_reference_mut(self, reference);
        }
    }
    let mut ty = ty.clone();
    Replace(Lifetime::new(lifetime, ty.span())).visit_type_mut(&mut ty);
    ty
}
