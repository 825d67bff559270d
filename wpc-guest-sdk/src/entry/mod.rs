//! The guest's side of the sandbox boundary: reads the arguments that the host wrote and returns the reply.

mod arguments;
mod probe;
mod reply;
#[cfg(target_arch = "wasm32")]
mod sandbox;
#[cfg(test)]
mod tests;

pub use arguments::TakeAny;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use arguments::decode_arguments;
pub(crate) use probe::is_own;
pub use probe::{NoSchema, NotAResult, Probe, error_schema, is_argument, is_item, is_result};
pub(crate) use reply::encode;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use reply::{error_reply, plain_error_reply, strings_reply, value_reply};
#[cfg(target_arch = "wasm32")]
pub use sandbox::{
    ReplyOfAny, Value, arguments, reply_bad_arguments, reply_error, reply_left_over,
};
