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

#[derive(wpc::Schema)]
#[serde(default)]
struct Settings {
    #[serde(default)]
    count: u32,
    #[serde(default = "fifty")]
    limit: Option<u32>,
    #[serde(alias = "nom")]
    name: String,
    #[serde(rename(serialize = "written", deserialize = "read"))]
    one: u8,
    #[serde(rename(serialize = "other"))]
    two: u8,
    #[serde(of_next_year)]
    three: u8,
    #[serde(default)]
    four: std::time::Duration,
    #[schema(like = u8)]
    five: Opaque,
}

#[derive(wpc::Schema)]
#[serde(rename_all = "camel_case")]
enum Case {
    Lower,
    #[serde(other)]
    Upper,
}

#[derive(wpc::Schema)]
#[serde(transparent)]
struct Both(u8, u8);

#[derive(wpc::Schema)]
#[serde(tag = "kind", content = "value", from = "u8")]
struct Tagged {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    inner: Option<u8>,
}

struct Opaque;

fn main() {}
