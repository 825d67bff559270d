struct S;
impl S {
    #[wpc::function]
    fn f(&self) {}
}
fn main() {}
