#[wpc::function(nam = "f")]
fn f() {}
fn main() {}
