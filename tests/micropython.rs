//! MicroPython as a guest, `examples/micropython`: its exceptions are `longjmp`, which is compiled to exceptions of WebAssembly.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wpc_host::{
    CallOptions, Error, GuestError, Limits, Sha256Hash, WasmModule, WorkerProcedureCall,
};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/micropython")
}

fn python_with(limits: Limits) -> WorkerProcedureCall {
    let wpc = pool_with(1, immediate_restarts());
    let module = WasmModule::new(std::fs::read(example().join("python.wasm")).unwrap());
    wpc.define_worker_module(module.limits(limits)).unwrap();
    wpc
}

fn python() -> WorkerProcedureCall {
    python_with(Limits::default())
}

fn run(wpc: &WorkerProcedureCall, source: &str) -> Result<String, Error> {
    wpc.call("run", (source,))
}

fn raised(result: Result<String, Error>) -> GuestError {
    match result {
        Err(Error::Guest { error, .. }) => *error,
        other => panic!("the source should raise an exception: {other:?}"),
    }
}

#[test]
fn the_output_of_statements_is_returned() {
    let wpc = python();
    assert_eq!(run(&wpc, "").unwrap(), "");
    assert_eq!(run(&wpc, "for i in range(3):\n    print(i, end=';')").unwrap(), "0;1;2;");
    let json = "import json\nprint(json.dumps({'a': [1, 2.5, None, 'é', 2 ** 100]}))";
    let expected = "{\"a\": [1, 2.5, null, \"é\", 1267650600228229401496703205376]}\n";
    assert_eq!(run(&wpc, json).unwrap(), expected);
}

#[test]
fn the_value_of_an_expression_is_returned() {
    let wpc = python();
    for (expression, expected) in [
        ("1 + 1", "2"),
        ("'a' + \"b\"", "'ab'"),
        ("[x * x for x in range(4)]", "[0, 1, 4, 9]"),
        ("None", "None"),
    ] {
        assert_eq!(wpc.call::<String>("eval", (expression,)).unwrap(), expected);
    }
    assert_eq!(raised(wpc.call("eval", ("x = 1",))).name, "SyntaxError");
}

#[test]
fn python_catches_its_exceptions() {
    let wpc = python();
    let source = "
def divide(a, b):
    try:
        return a // b
    except ZeroDivisionError as error:
        return error
    finally:
        print('done', end=' ')
print(divide(6, 2), divide(6, 0))
caught = 0
for i in range(10_000):
    try:
        raise ValueError(i)
    except ValueError as error:
        caught += error.args[0] == i
print(caught)";
    assert_eq!(run(&wpc, source).unwrap(), "done done 3 divide by zero\n10000\n");
}

#[test]
fn an_uncaught_exception_is_a_guest_error_with_its_traceback() {
    let wpc = python();
    let error = raised(run(&wpc, "print('lost')\ndef f():\n    raise KeyError('k')\nf()"));
    assert_eq!((error.name.as_str(), error.message.as_str()), ("KeyError", "k"));
    assert!(error.stack.contains("line 4, in <module>"), "{}", error.stack);
    assert!(error.stack.contains("line 3, in f"), "{}", error.stack);
    let of_its_own = raised(run(&wpc, "class Refused(Exception): pass\nraise Refused(3)"));
    assert_eq!((of_its_own.name.as_str(), of_its_own.message.as_str()), ("Refused", "3"));
    assert_eq!(raised(run(&wpc, "if")).name, "SyntaxError");
    assert_eq!(raised(run(&wpc, "open('/etc/passwd')")).name, "OSError");
    assert_eq!(raised(run(&wpc, "import socket")).name, "ImportError");
}

#[test]
fn calls_share_nothing() {
    let wpc = python();
    assert_eq!(run(&wpc, "x = 7\nprint(x)").unwrap(), "7\n");
    assert_eq!(raised(run(&wpc, "print(x)")).name, "NameError");
}

#[test]
fn an_endless_loop_ends_at_its_limits() {
    let wpc = python();
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    for source in
        ["while True: pass", "while True:\n  try: raise KeyError\n  except KeyError: pass"]
    {
        let result = wpc.submit_with::<String>("run", (source,), &options).unwrap().wait();
        assert_eq!(code(result), "timeout");
        assert_eq!(run(&wpc, "print(1)").unwrap(), "1\n");
    }
    let wpc = python_with(Limits::default().fuel(10_000_000));
    assert_eq!(code(run(&wpc, "while True: pass")), "out_of_fuel");
    assert_eq!(run(&wpc, "print(1)").unwrap(), "1\n");
}

#[test]
fn deep_recursion_raises_an_exception() {
    let wpc = python();
    assert_eq!(raised(run(&wpc, "def f(): f()\nf()")).name, "RuntimeError");
    let caught = "def f(n): return f(n + 1)\ntry:\n    f(0)\nexcept RuntimeError: print('caught')";
    assert_eq!(run(&wpc, caught).unwrap(), "caught\n");
    // A hundred calls fit.
    let fits = "def f(n): return n and 1 + f(n - 1)\nprint(f(100))";
    assert_eq!(run(&wpc, fits).unwrap(), "100\n");
    // MicroPython compares without looking at its stack: the call ends with a trap.
    let compares = "a = []\na.append(a)\nb = [a]\na[0] = b\na == b";
    assert!(matches!(code(run(&wpc, compares)), "trap" | "stack_overflow"));
    assert_eq!(run(&wpc, "print(1)").unwrap(), "1\n");
}

#[test]
fn the_memory_limit_is_a_memory_error() {
    let wpc = python_with(Limits::default().memory(4 << 20));
    let exhausts = "x = []\nwhile True: x.append(bytes(1000))";
    for _ in 0..3 {
        assert_eq!(raised(run(&wpc, exhausts)).name, "MemoryError");
    }
    let caught = "try:\n  x = []\n  while True: x.append(bytes(1000))\nexcept MemoryError: x = None\nprint('ok')";
    assert_eq!(run(&wpc, caught).unwrap(), "ok\n");
}

#[test]
fn garbage_is_collected_and_live_objects_are_kept() {
    // 40 MB of garbage in 1 MiB.
    let wpc = python_with(Limits::default().memory(1 << 20));
    let garbage = "for i in range(40_000): x = bytes(1000)\nprint(len(x))";
    assert_eq!(run(&wpc, garbage).unwrap(), "1000\n");
    // A collection before almost every allocation, so that an object that is not found would be overwritten.
    let kept = "
import gc
gc.threshold(1)
def tree(depth):
    return [str(depth), tree(depth - 1), {depth: tree(depth - 1)}] if depth else 'leaf'
def count(node, depth):
    if depth == 0:
        return node == 'leaf'
    name, left, right = node
    assert name == str(depth)
    return count(left, depth - 1) + count(right[depth], depth - 1)
print(count(tree(8), 8), sorted([str(n) for n in range(300)], key=lambda text: -int(text))[0])";
    assert_eq!(run(&wpc, kept).unwrap(), "256 299\n");
}

#[test]
fn python_is_built_from_its_sources() {
    let recorded = std::fs::read_to_string(example().join("sources.sha256")).unwrap();
    assert_eq!(recorded.lines().count(), 6);
    for line in recorded.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let found = Sha256Hash::of(&std::fs::read(example().join(name)).unwrap()).to_string();
        assert_eq!(found, hash, "{name} changed; build `examples/micropython` again");
    }
}
