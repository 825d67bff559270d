#[wpc::init]
fn prepare(_path: &str) {}
fn main() {}
