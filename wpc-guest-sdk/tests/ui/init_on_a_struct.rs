#[wpc::init]
struct S;
fn main() {}
