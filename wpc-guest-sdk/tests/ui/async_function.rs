#[wpc::function]
async fn f() {}
fn main() {}
