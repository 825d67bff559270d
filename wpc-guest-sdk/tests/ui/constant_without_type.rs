fn limit() -> Result<u32, wpc::GuestError> {
    wpc::constant!("LIMIT")
}
fn main() {}
