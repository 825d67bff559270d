struct Silent;

#[wpc::function]
fn f() -> Result<u8, Silent> {
    Err(Silent)
}
fn main() {}
