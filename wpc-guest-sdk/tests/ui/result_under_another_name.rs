type Outcome = Result<u8, wpc::GuestError>;

#[wpc::function]
fn f() -> Outcome {
    Ok(1)
}
fn main() {}
