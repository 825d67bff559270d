//! Three functions in Rust; the SDK keeps the contract.

use wpc::GuestError;

wpc::import! {
    mod path_dep {
        fn basename(path: &str) -> String;
    }
}

/// The constant GREETING and the name: `Hello, Ada!`.
#[wpc::function]
fn greet(name: &str) -> Result<String, GuestError> {
    if name.is_empty() {
        return Err(GuestError::new("EmptyName", "there is nobody to greet"));
    }
    let greeting: String = wpc::constant("GREETING")?;
    Ok(format!("{greeting}, {name}!"))
}

/// The bytes from the last to the first.
#[wpc::function]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// What the dependency calls the file: `file: todo.txt`.
#[wpc::function]
fn title(path: &str) -> Result<String, GuestError> {
    Ok(format!("file: {}", path_dep::basename(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_not_greeted() {
        let error = greet("").unwrap_err();
        assert_eq!(
            (error.name.as_str(), error.message.as_str()),
            ("EmptyName", "there is nobody to greet")
        );
    }

    #[test]
    fn bytes_are_reversed() {
        assert_eq!(reverse(vec![1, 2, 3]), [3, 2, 1]);
        assert_eq!(reverse(Vec::new()), []);
    }

    #[test]
    fn what_needs_a_host_says_so_outside_a_sandbox() {
        assert_eq!(title("/a/b").unwrap_err().name, "OutsideSandbox");
        assert_eq!(greet("Ada").unwrap_err().name, "OutsideSandbox");
    }
}
