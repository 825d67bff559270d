#[wpc::function(name = "two-words")]
fn f() {}
fn main() {}
