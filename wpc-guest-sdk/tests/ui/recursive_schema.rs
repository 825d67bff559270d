#[derive(wpc::Schema)]
struct Comment {
    text: String,
    answers: Vec<Comment>,
}

#[derive(wpc::Schema)]
enum Tree<T> {
    Leaf(T),
    Branch(Box<Tree<T>>, Box<Tree<T>>),
}

#[derive(wpc::Schema)]
struct List<'a> {
    next: Option<(u32, &'a Self)>,
}

fn main() {}
