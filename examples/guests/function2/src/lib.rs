//! A function that is nothing but a call of its dependency.

wpc::import! {
    mod crypto_dep {
        fn random_uuid() -> String;
    }
}

/// A fresh UUID.
#[wpc::function(name = "WPCFunction2")]
fn function2() -> Result<String, wpc::GuestError> {
    crypto_dep::random_uuid()
}
