#[wpc::function]
fn f(text: impl ToString) -> impl ToString {
    text.to_string()
}
fn main() {}
