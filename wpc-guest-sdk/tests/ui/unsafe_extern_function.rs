#[wpc::function]
unsafe extern "C" fn f() {}
fn main() {}
