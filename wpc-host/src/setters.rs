//! Methods that set the fields of a struct, so that it is its own builder.

/// One method for each field, with its name. `=> Some` is for a field that is optional and is set to a value.
macro_rules! setters {
    ($($(#[$attribute:meta])* $field:ident: $type:ty $(=> $convert:expr)?),* $(,)?) => {$(
        $(#[$attribute])*
        #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $type) -> Self {
            self.$field = setters!(@value $field $($convert)?);
            self
        }
    )*};
    (@value $value:ident) => { $value };
    (@value $value:ident $convert:expr) => { $convert($value) };
}
