//! Random programs: rewriting them changes neither their results nor, within bounds, their fuel.

use super::{EXACT_TRAP, check_bound, run_plain, run_stepped};
use proptest::prelude::*;
use std::fmt::Write as _;

/// A piece of a random program.
#[derive(Debug, Clone)]
enum Piece {
    /// A few operators, including those of checks, repeated.
    Work(usize),
    /// A block that is sometimes left early.
    Block(Vec<Piece>),
    /// A loop with this number of iterations.
    Loop(u32, Vec<Piece>),
    /// A loop with values on the stack.
    Carrying(u32, Vec<Piece>),
    If(Vec<Piece>, Vec<Piece>),
    /// Alternatives, one of which runs in each iteration.
    Table(Vec<Vec<Piece>>),
    Call,
    /// A fill with a constant or a variable length.
    Fill(u32, bool),
    /// A point at which the program may trap.
    Stop,
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let leaf = prop_oneof![
        4 => (0_usize..300).prop_map(Piece::Work),
        1 => Just(Piece::Call),
        1 => ((0_u32..60_000), any::<bool>()).prop_map(|(length, fixed)| Piece::Fill(length, fixed)),
        1 => (0_u32..200).prop_map(|length| Piece::Fill(length, true)),
        3 => Just(Piece::Stop),
    ];
    let piece = leaf.prop_recursive(4, 40, 5, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            some().prop_map(Piece::Block),
            (1_u32..40, some()).prop_map(|(laps, body)| Piece::Loop(laps, body)),
            (1_u32..40, some()).prop_map(|(laps, body)| Piece::Carrying(laps, body)),
            (some(), some()).prop_map(|(one, other)| Piece::If(one, other)),
            prop::collection::vec(some(), 1..4).prop_map(Piece::Table),
        ]
    });
    prop::collection::vec(piece, 1..6)
}

fn write_pieces(text: &mut String, pieces: &[Piece], depth: usize) {
    for piece in pieces {
        match piece {
            Piece::Work(times) => {
                for _ in 0..*times {
                    text.push_str("nop (local.set $y (i64.add (local.tee $y (i64.const 3)) (local.get $y)))\n");
                    text.push_str("(local.set $x (i32.add (i32.mul (local.get $x) (i32.const 5)) (i32.const 7)))\n");
                }
            }
            Piece::Block(body) => {
                text.push_str("(block (br_if 0 (i32.and (local.get $x) (i32.const 4)))\n");
                write_pieces(text, body, depth);
                text.push(')');
            }
            Piece::Loop(laps, body) => {
                let _ = writeln!(text, "(local.set $l{depth} (i32.const {laps})) (loop");
                write_pieces(text, body, depth + 1);
                let _ = writeln!(
                    text,
                    "(br_if 0 (local.tee $l{depth} (i32.sub (local.get $l{depth}) (i32.const 1)))))"
                );
            }
            Piece::Carrying(laps, body) => {
                let _ = writeln!(
                    text,
                    "(local.get $x) (i32.const {laps}) (loop (param i32 i32) (result i32) (local.set $l{depth}) (local.set $x)"
                );
                write_pieces(text, body, depth + 1);
                let _ = writeln!(
                    text,
                    "(i32.add (local.get $x) (i32.const 1)) (local.tee $l{depth} (i32.sub (local.get $l{depth}) (i32.const 1)))"
                );
                let _ = writeln!(text, "(br_if 0 (local.get $l{depth})) (drop)) (local.set $x)");
            }
            Piece::If(one, other) => {
                text.push_str("(if (i64.gt_u (i64.const 5) (i64.and (i64.extend_i32_u (local.get $x)) (i64.const 15))) (then\n");
                write_pieces(text, one, depth);
                text.push_str(") (else\n");
                write_pieces(text, other, depth);
                text.push_str("))");
            }
            Piece::Table(arms) => {
                // Each arm leaves the outermost block.
                text.push_str(&"(block ".repeat(arms.len() + 1));
                let targets: Vec<_> = (0..=arms.len()).map(|at| at.to_string()).collect();
                let _ = writeln!(
                    text,
                    "(br_table {} (i32.and (local.get $x) (i32.const 3))))",
                    targets.join(" ")
                );
                for (at, arm) in arms.iter().enumerate() {
                    write_pieces(text, arm, depth);
                    let _ = writeln!(text, "(br {}))", arms.len() - 1 - at);
                }
            }
            Piece::Call => text.push_str("(local.set $x (call $g (local.get $x)))\n"),
            Piece::Fill(length, true) => {
                let _ = writeln!(
                    text,
                    "(memory.fill (i32.const 0) (local.get $x) (i32.const {length}))"
                );
            }
            Piece::Fill(length, false) => {
                let _ = writeln!(
                    text,
                    "(local.set $z (i32.const {length})) (memory.fill (i32.const 0) (local.get $x) (local.get $z))"
                );
            }
            Piece::Stop => text.push_str(
                "(local.set $c (i32.add (local.get $c) (i32.const 1)))
                (if (i32.eq (local.get $c) (local.get $stop)) (then TRAP))\n",
            ),
        }
    }
}

fn program(pieces: &[Piece]) -> String {
    let mut text = String::from(
        r#"(module (memory 1)
        (func $g (param $x i32) (result i32) (local i32) (local.set 1 (i32.and (local.get 0) (i32.const 63)))
            (loop (local.set 0 (i32.add (local.get 0) (local.get 1)))
                (br_if 0 (i32.ge_s (local.tee 1 (i32.sub (local.get 1) (i32.const 1))) (i32.const 0)))) (local.get 0))
        (func (export "f") (param $stop i32) (result i32 i64 i32) (local $x i32) (local $y i64) (local $z i32) (local $c i32)
            (local $l0 i32) (local $l1 i32) (local $l2 i32) (local $l3 i32) (local $l4 i32) (local $l5 i32)
        "#,
    );
    write_pieces(&mut text, pieces, 0);
    text.push_str("(local.get $x) (local.get $y) (i32.load (i32.const 8))))");
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_return_the_same_results_and_lose_little_fuel(pieces in pieces(), stop in 1_i32..5_000) {
        let text = program(&pieces);
        let whole = text.replace("TRAP", EXACT_TRAP);
        // A negative number: it never traps.
        let ((plain, exact), (stepped, counted)) = (run_plain(&whole, -1), run_stepped(&whole, -1));
        prop_assert_eq!(plain, stepped);
        prop_assert!(counted >= exact && (counted - exact) % 2 == 0);
        prop_assert!(counted <= exact + exact / 50 + 100, "{} for {}", counted, exact);
        for stop in [1, stop % 16, stop] {
            check_bound(&text, stop);
        }
    }
}
