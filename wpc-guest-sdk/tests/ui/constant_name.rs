fn f() -> Result<u8, wpc::GuestError> {
    wpc::constant!("two words": u8)
}
fn main() {}
