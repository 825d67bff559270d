struct Plain;

#[wpc::function]
fn f() -> Option<Plain> {
    None
}
fn main() {}
