//! Guests that take all the memory and table elements they can get.

use super::{attack, with_memory};

#[test]
fn memory_bomb() {
    attack("memory-bomb").ends_with("out_of_memory");
}

#[test]
fn memory_grow_storm() {
    attack("memory-grow-storm").granted(with_memory(1 << 20)).ends_with("timeout");
}

#[test]
fn memory_touch() {
    attack("memory-touch").granted(with_memory(16 << 20)).ends_with("timeout");
}

#[test]
fn memory_fill_storm() {
    attack("memory-fill-storm").ends_with("timeout");
}

#[test]
fn memory_too_large() {
    attack("memory-too-large").rejected_with("memory_too_large");
}

#[test]
fn table_bomb() {
    attack("table-bomb").ends_with("out_of_table_elements");
}

#[test]
fn table_too_large() {
    attack("table-too-large").rejected_with("table_too_large");
}

#[test]
fn buffer_wants_everything() {
    attack("buffer-wants-everything").ends_with("out_of_memory");
}

#[test]
fn exception_bomb() {
    attack("exception-bomb").granted(with_memory(4 << 20)).ends_with("out_of_memory");
}
