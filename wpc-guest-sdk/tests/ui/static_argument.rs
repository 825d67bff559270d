#[wpc::function]
fn keep(text: &'static str) {}
fn main() {}
