wpc::import! {
    mod path_dep {
        async fn basename<T>(path: T) -> String;
    }
}
fn main() {}
