wpc::import! {
    mod path_dep {
        fn basename(path: &str) -> String {
            path.to_owned()
        }
    }
}
fn main() {}
