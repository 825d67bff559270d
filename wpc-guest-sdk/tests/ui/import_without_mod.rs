wpc::import! {
    fn basename(path: &str) -> String;
}
fn main() {}
