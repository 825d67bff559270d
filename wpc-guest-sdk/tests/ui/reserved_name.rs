#[wpc::function]
fn wpc_f() {}
fn main() {}
