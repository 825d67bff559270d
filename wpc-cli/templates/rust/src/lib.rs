//! Functions for wpc.

/// Greets somebody.
#[wpc::function]
fn greet(name: &str) -> Result<String, wpc::GuestError> {
    if name.is_empty() {
        return Err(wpc::GuestError::new("EmptyName", "there is nobody to greet"));
    }
    Ok(format!("Hello, {name}!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_greeted() {
        assert_eq!(greet("Ada").unwrap(), "Hello, Ada!");
    }

    #[test]
    fn nobody_is_not() {
        assert_eq!(greet("").unwrap_err().name, "EmptyName");
    }
}
