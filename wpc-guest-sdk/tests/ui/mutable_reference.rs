#[wpc::function]
fn f(_bytes: &mut [u8]) {}
fn main() {}
