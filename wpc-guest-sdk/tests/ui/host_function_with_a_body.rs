wpc::host! {
    fn lookup(key: &str) -> Option<String> {
        None
    }
}
fn main() {}
