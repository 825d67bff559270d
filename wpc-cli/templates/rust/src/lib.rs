//! WebAssembly functions for wpc.

/// Returns a greeting.
#[wpc::function]
fn greet(name: &str) -> Result<String, wpc::GuestError> {
    if name.is_empty() {
        return Err(wpc::GuestError::new("EmptyName", "the name is empty"));
    }
    Ok(format!("Hello, {name}!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_by_name() {
        assert_eq!(greet("Ada").unwrap(), "Hello, Ada!");
    }

    #[test]
    fn rejects_an_empty_name() {
        assert_eq!(greet("").unwrap_err().name, "EmptyName");
    }
}
