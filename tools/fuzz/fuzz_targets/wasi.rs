//! Arbitrary calls of WASI preview 1 with arbitrary arguments, by a guest with every grant: the call ends, and the
//! worker keeps serving.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;
use wpc_fuzz::pool;
use wpc_host::{
    CallOptions, Capability, Error, Limits, Output, Wasi, WasmModule, WorkerProcedureCall,
};

/// Each import with its parameters: `i` is an i32, `I` an i64.
const IMPORTS: [(&str, &str); 42] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
];

#[derive(Debug, Arbitrary)]
enum Number {
    /// A descriptor, a length, a flag.
    Small(u8),
    Address(u16),
    Any(i64),
}

#[derive(Debug, Arbitrary)]
struct Step {
    import: u8,
    arguments: [Number; 9],
}

#[derive(Debug, Arbitrary)]
struct Program {
    data: Vec<u8>,
    steps: Vec<Step>,
    /// The size of the memory, less one.
    pages: u8,
}

static POOL: LazyLock<WorkerProcedureCall> = LazyLock::new(|| {
    let wpc = pool(3);
    let good = wat::parse_str(r#"(module (func (export "good")))"#).expect("the text should parse");
    wpc.define_worker_function("good", good).expect("the function is defined");
    wpc
});

static FOLDER: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("wpc-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the file can be written");
    std::fs::write(folder.join("a"), "some text").expect("the file can be written");
    folder
});

fuzz_target!(|program: Program| {
    let mut text = String::from("(module\n");
    for (at, (name, parameters)) in IMPORTS.iter().enumerate() {
        let types = parameters.chars().map(|ty| if ty == 'i' { " i32" } else { " i64" });
        let types: String = types.collect();
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        let _ = writeln!(
            text,
            r#"(import "wasi_snapshot_preview1" "{name}" (func $w{at} (param{types}) {result}))"#
        );
    }
    let pages = u32::from(program.pages) + 1;
    let _ = write!(text, "(memory (export \"memory\") {pages})");
    text.push_str("\n(data (i32.const 256) \"");
    for byte in program.data.iter().take(4096) {
        let _ = write!(text, "\\{byte:02x}");
    }
    text.push_str("\")\n(data (i32.const 0) \"a\\00b/../a\\00..\")\n(func (export \"f\")\n");
    for step in program.steps.iter().take(16) {
        let at = usize::from(step.import) % IMPORTS.len();
        let ends = IMPORTS[at].0 == "proc_exit";
        let _ = write!(text, "{}(call $w{at}", if ends { "" } else { "(drop " });
        for (ty, number) in IMPORTS[at].1.chars().zip(&step.arguments) {
            let number = match number {
                Number::Small(number) => i64::from(*number) % 8,
                Number::Address(address) => i64::from(*address),
                Number::Any(number) => *number,
            };
            let _ = match ty {
                'i' => write!(text, " (i32.const {})", number as i32),
                _ => write!(text, " (i64.const {number})"),
            };
        }
        text.push_str(if ends { ")\n" } else { "))\n" });
    }
    text.push_str("))");
    let wasi = Wasi::minimal()
        .arguments(["one", "two"])
        .environment([("NAME", "value")])
        .stdin(b"some input".to_vec())
        .stderr(Output::discard())
        .write_directory(&*FOLDER, "/data");
    let module = WasmModule::new(wat::parse_str(&text).expect("the text should parse"))
        .limits(Limits::default().log(1 << 16))
        .grant_wasi(wasi)
        .grant(Capability::Clock)
        .grant(Capability::Random);
    POOL.define_worker_function("f", module).expect("the module has every grant");
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    let result = POOL.call_with::<()>("f", (), &options);
    let is_allowed = matches!(
        result,
        Ok(())
            | Err(Error::Trap { .. }
                | Error::Timeout { .. }
                | Error::BadReply { .. }
                | Error::LogLimit { .. }
                | Error::Exited { .. }
                | Error::TooManyOpenFiles { .. })
    );
    assert!(is_allowed, "{result:?}");
    POOL.call::<()>("good", ()).expect("the worker keeps serving");
    let health = POOL.get_worker_health_states();
    assert_eq!(health[0].restart_attempt, 0, "the worker was replaced");
});
