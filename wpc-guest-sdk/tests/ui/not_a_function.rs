#[wpc::function]
struct S;
fn main() {}
