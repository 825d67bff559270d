fn f() -> Result<u8, wpc::GuestError> {
    wpc::constant!("two words")
}
fn main() {}
