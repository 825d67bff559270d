struct Plain;

#[derive(wpc::Schema)]
struct Order {
    item: String,
    plain: Plain,
}

fn main() {}
