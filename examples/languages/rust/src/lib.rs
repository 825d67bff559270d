//! Three functions in Rust with the SDK.

use wpc::GuestError;

wpc::import! {
    mod path_dep {
        fn basename(path: &str) -> String;
    }
}

/// Returns the constant GREETING and the name: `Hello, Ada!`.
#[wpc::function]
fn greet(name: &str) -> Result<String, GuestError> {
    if name.is_empty() {
        return Err(GuestError::new("EmptyName", "the name is empty"));
    }
    let greeting: String = wpc::constant("GREETING")?;
    Ok(format!("{greeting}, {name}!"))
}

/// Returns the bytes in reverse order.
#[wpc::function]
fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

/// Returns the dependency's name of the file: `file: todo.txt`.
#[wpc::function]
fn title(path: &str) -> Result<String, GuestError> {
    Ok(format!("file: {}", path_dep::basename(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_rejected() {
        let error = greet("").unwrap_err();
        assert_eq!(
            (error.name.as_str(), error.message.as_str()),
            ("EmptyName", "the name is empty")
        );
    }

    #[test]
    fn bytes_are_reversed() {
        assert_eq!(reverse(vec![1, 2, 3]), [3, 2, 1]);
        assert_eq!(reverse(Vec::new()), []);
    }

    #[test]
    fn functions_that_need_a_host_fail_outside_a_sandbox() {
        assert_eq!(title("/a/b").unwrap_err().name, "OutsideSandbox");
        assert_eq!(greet("Ada").unwrap_err().name, "OutsideSandbox");
    }
}
