struct Plain;

#[wpc::function]
fn f(_plain: Plain) {}
fn main() {}
