#[wpc::function]
fn f<T, const N: usize>() {}
fn main() {}
