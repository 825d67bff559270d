#[derive(wpc::Schema)]
struct Order {
    item: String,
    #[serde(skip)]
    note: Opaque,
    #[serde(rename = "n", with = "elsewhere")]
    count: u32,
}

#[derive(wpc::Schema)]
#[serde(untagged)]
enum Answer {
    Yes,
}

#[derive(wpc::Schema)]
union Bits {
    number: u32,
    float: f32,
}

struct Opaque;

fn main() {}
