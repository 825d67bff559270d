//! A function that only calls its dependency.

wpc::import! {
    mod crypto_dep {
        fn random_uuid() -> String;
    }
}

/// A new UUID.
#[wpc::function(name = "WPCFunction2")]
fn function2() -> Result<String, wpc::GuestError> {
    crypto_dep::random_uuid()
}
