//! Doc comments that the SDK's macros encode while a guest is compiled.

use super::{FUNCTION, MAX_TEXT, TYPE};
use crate::schema::Sink;

/// The doc comments of a type, as the derive of `Schema` finds them.
#[derive(Debug, Clone, Copy)]
pub struct Comments {
    /// The type's name in its schema.
    pub name: &'static str,
    /// The lines of each comment, by the name of the item: empty for the type itself, otherwise a field, a variant, or
    /// `Variant.field`.
    pub items: &'static [(&'static str, &'static [&'static str])],
    /// The comments of the types that it contains.
    pub parts: &'static [&'static Comments],
}

impl Comments {
    /// No comments.
    pub const NONE: &'static Self = &Self { name: "", items: &[], parts: &[] };
}

/// The doc comments of a function and of its types.
#[derive(Debug, Clone, Copy)]
pub struct FunctionComments<'a> {
    /// The export's name.
    pub function: &'a str,
    /// The lines of its comment.
    pub lines: &'a [&'a str],
    /// The comments of its arguments' types, of its result's and of its error's.
    pub types: &'a [&'a Comments],
}

impl FunctionComments<'_> {
    /// The number of bytes that [`FunctionComments::encode`] returns.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let mut sink = Sink::new(&mut []);
        self.write(&mut sink);
        sink.len()
    }

    /// Encodes the comments as records; `N` must be [`FunctionComments::encoded_len`].
    ///
    /// # Panics
    ///
    /// If `N` is another number. In a constant that is a compile error.
    #[must_use]
    pub const fn encode<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut sink = Sink::new(&mut bytes);
        self.write(&mut sink);
        assert!(sink.len() == N, "the records have another length");
        bytes
    }

    const fn write(&self, sink: &mut Sink<'_>) {
        write_record(sink, &[self.function], FUNCTION, self.lines);
        write_types(sink, self.types);
    }
}

const fn write_types(sink: &mut Sink<'_>, types: &[&Comments]) {
    let mut at = 0;
    while at < types.len() {
        let Comments { name, items, parts } = types[at];
        let mut item = 0;
        while item < items.len() {
            write_record(sink, &[name, items[item].0], TYPE, items[item].1);
            item += 1;
        }
        write_types(sink, parts);
        at += 1;
    }
}

/// Writes a record of some names and a text, unless the text is empty.
const fn write_record(sink: &mut Sink<'_>, names: &[&str], kind: usize, lines: &[&str]) {
    let text = len_of(lines);
    if text == 0 {
        return;
    }
    sink.varint(kind);
    let mut measure = Sink::new(&mut []);
    write_body(&mut measure, names, text, lines);
    sink.varint(measure.len());
    write_body(sink, names, text, lines);
}

const fn write_body(sink: &mut Sink<'_>, names: &[&str], text: usize, lines: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        sink.str(names[at]);
        at += 1;
    }
    sink.varint(text);
    write_lines(sink, lines);
}

const fn len_of(lines: &[&str]) -> usize {
    let mut measure = Sink::new(&mut []);
    write_lines(&mut measure, lines);
    measure.len()
}

/// Writes the lines that fit [`MAX_TEXT`], without the space that a line of a comment starts with.
const fn write_lines(sink: &mut Sink<'_>, lines: &[&str]) {
    let start = sink.len();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].as_bytes();
        let mut next = if !line.is_empty() && line[0] == b' ' { 1 } else { 0 };
        let is_first = at == 0;
        if sink.len() - start + line.len() - next + !is_first as usize > MAX_TEXT {
            return;
        }
        if !is_first {
            sink.byte(b'\n');
        }
        while next < line.len() {
            sink.byte(line[next]);
            next += 1;
        }
        at += 1;
    }
}
