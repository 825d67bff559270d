pub(crate) mod arguments;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod guest_payload;
pub(crate) mod json;
pub(crate) mod payload;
pub(crate) mod type_check;
pub(crate) mod value_type;
