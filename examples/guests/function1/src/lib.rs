//! A function that reads a constant and calls a dependency.

wpc::import! {
    mod path_dep {
        fn basename(path: &str) -> String;
    }
}

/// The service's prefix and the file's name: `api-v1:example.txt`.
#[wpc::function(name = "WPCFunction1")]
fn function1(file_path: &str) -> Result<String, wpc::GuestError> {
    let prefix = wpc::constant!("SERVICE_PREFIX": String)?;
    Ok(format!("{prefix}:{}", path_dep::basename(file_path)?))
}
