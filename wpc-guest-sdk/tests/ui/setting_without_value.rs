#[wpc::function(name)]
fn f() {}
fn main() {}
