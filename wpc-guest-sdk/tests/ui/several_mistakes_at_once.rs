#[wpc::function(name = "9")]
async fn f<T>((_a, _b): (T, T)) {}
fn main() {}
