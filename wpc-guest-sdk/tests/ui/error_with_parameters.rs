#[derive(wpc::Error)]
struct Failed<T>(T);

#[derive(wpc::Error)]
union Either {
    one: u8,
    other: i8,
}

fn main() {}
