//! Limits of the operating system end in an error that names the limit, and never in an abort. A limit applies to a
//! whole process, so each case runs in a child process of this same binary.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use wpc_host::{Error, Limits, Options, OsResource, Remedy, Wasi, WasmModule, WorkerProcedureCall};

/// The maximum wait for anything. It is far longer than necessary, so that only a hang reaches it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum duration of a case, in seconds.
const CASE_TIMEOUT: &str = "600";

/// The environment variable that names the case for a child.
const CASE: &str = "WPC_OS_LIMITS_CASE";

/// Runs a case in a child that a shell starts after it has set a limit.
fn under(limit: &str, case: &str) {
    run(&format!("{limit} exec \"$0\" --exact child --nocapture"), case);
}

fn run(command: &str, case: &str) {
    run_binary(&std::env::current_exe().unwrap(), command, case);
}

fn run_binary(test: &Path, command: &str, case: &str) {
    let mut child = Command::new("timeout");
    child.args(["-s", "KILL", CASE_TIMEOUT, "sh", "-c", command]).arg(test).env(CASE, case);
    let child = child.output().unwrap();
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{case}: {}\n{text}", child.status);
    assert!(text.contains("the case has ended"), "{text}");
}

#[test]
fn a_pool_takes_few_memory_maps() {
    under("", "few_maps");
}

#[test]
fn ten_thousand_suspended_calls_are_dropped_at_once() {
    under("", "suspended_calls");
}

#[test]
fn pools_are_refused_before_memory_maps_run_out() {
    under("", "maps_run_out");
}

#[test]
fn pools_are_refused_before_the_processors_address_space_runs_out() {
    under("", "many_pools");
}

#[test]
fn a_pool_that_needs_more_address_space_than_allowed_is_refused() {
    under("ulimit -v 8388608;", "little_address_space");
}

#[test]
fn threads_are_refused_before_address_space_runs_out() {
    under("ulimit -v 8388608;", "stacks_without_space");
}

#[test]
fn sandboxes_with_exceptions_are_refused_when_address_space_runs_out() {
    under("ulimit -v 8388608;", "exceptions_without_space");
}

#[test]
fn modules_are_refused_before_file_descriptors_run_out() {
    under("ulimit -n 64;", "few_descriptors");
}

#[test]
fn guests_are_refused_files_before_file_descriptors_run_out() {
    under("ulimit -n 64;", "files_of_guests");
}

#[test]
fn directories_are_refused_before_file_descriptors_run_out() {
    under("ulimit -n 64;", "granted_directories");
}

#[test]
fn a_limit_on_threads_is_named_before_it_is_reached() {
    // The limit does not apply to root, so another user runs the case, who has no other threads. That user may not be able to read
    // this binary's folder.
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let (test, copy) = (std::env::current_exe().unwrap(), folder.path().join("os_limits"));
    std::fs::hard_link(&test, &copy).or_else(|_| std::fs::copy(&test, &copy).map(drop)).unwrap();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let unused = 20_000 + std::process::id() % 40_000;
    let user = format!("setpriv --reuid {unused} --regid {unused} --clear-groups");
    let (user, others) = if is_root { (&*user, 0) } else { ("", threads_of_this_user()) };
    let run_limited = |limit: usize, case: &str| {
        let limit = limit + others;
        run_binary(
            &copy,
            &format!("cd /; exec {user} prlimit --nproc={limit} \"$0\" --exact child --nocapture"),
            case,
        );
    };
    for tool in ["setpriv", "prlimit"] {
        if !Command::new(tool).arg("--version").output().is_ok_and(|run| run.status.success()) {
            let must =
                ["CI", "WPC_EVERY_COMPILER"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!must, "install `{tool}`, of util-linux");
            eprintln!("skipped: `{tool}`, of util-linux, is not installed");
            return;
        }
    }
    // One after the other: the limit applies to all processes of a user together.
    run_limited(1, "no_threads");
    run_limited(40, "few_threads");
}

/// All threads of the user, to whom the limit applies as a whole.
fn threads_of_this_user() -> usize {
    let user = std::fs::metadata("/proc/self").unwrap();
    let user = std::os::unix::fs::MetadataExt::uid(&user);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    // A process may end meanwhile.
    let tasks = processes.filter_map(|process| {
        let folder = std::fs::metadata(process.path()).ok()?;
        let is_own = std::os::unix::fs::MetadataExt::uid(&folder) == user;
        is_own.then(|| std::fs::read_dir(process.path().join("task")).ok())?
    });
    tasks.map(Iterator::count).sum()
}

/// Runs the case of a child process. In the parent process it does nothing.
#[test]
fn child() {
    let Some(case) = std::env::var_os(CASE) else { return };
    match case.to_str().unwrap() {
        "few_maps" => few_maps(),
        "suspended_calls" => suspended_calls(),
        "maps_run_out" => maps_run_out(),
        "many_pools" => many_pools(),
        "little_address_space" => little_address_space(),
        "stacks_without_space" => stacks_without_space(),
        "exceptions_without_space" => exceptions_without_space(),
        "few_descriptors" => few_descriptors(),
        "no_threads" => no_threads(),
        "few_threads" => few_threads(),
        "files_of_guests" => files_of_guests(),
        "granted_directories" => granted_directories(),
        other => panic!("{other} is not a case"),
    }
    eprintln!("the case has ended");
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// A pool with a function that returns 7, after one call.
fn working_pool(options: Options, workers: usize) -> Result<WorkerProcedureCall, Error> {
    let wpc = WorkerProcedureCall::new(options)?;
    let module = r#"(module (memory 1) (data (i32.const 8) "x")
        (func (export "f") (result i32) i32.const 7))"#;
    wpc.define_worker_function("f", wat::parse_str(module).unwrap())?;
    wpc.start_workers(workers)?;
    assert_eq!(wpc.call::<i32>("f", ())?, 7);
    Ok(wpc)
}

/// A rejection because of a limit of the operating system.
struct Limited {
    what: String,
    needed: u64,
    limit: u64,
    reserve: u64,
}

/// Checks that the operation was rejected because of this resource, and that a retry can succeed.
#[track_caller]
fn limited(error: Error, expected: OsResource) -> Limited {
    assert!(error.retry_can_help() && !error.outcome_unknown(), "{error}");
    assert_eq!(error.remedy(), Some(Remedy::RaiseOsLimit(expected)), "{error}");
    match error {
        Error::OsLimit { what, needed, limit, reserve, .. } => {
            Limited { what, needed, limit, reserve }
        }
        other => panic!("{other}"),
    }
}

fn few_maps() {
    let before = maps();
    let wpc = working_pool(Options::default(), 2).unwrap();
    // Two workers, the supervisor, an engine, a module and its sandbox. The compiler's thread ends a moment after its result.
    eventually(|| maps() < before + 64);
    drop(wpc);
}

/// Each suspended call has four memory maps, so these take most of those that a process may have.
fn suspended_calls() {
    const CALLS: u32 = 10_000;
    let count = CALLS as usize;
    let options = Options::default()
        .call_timeout(TEST_TIMEOUT)
        .max_live_instances(CALLS)
        .max_suspended_instances(CALLS)
        .max_pending_calls_per_worker(2 * count);
    let wpc = working_pool(options, 2).unwrap();
    let never = |_, (): ()| std::future::pending::<Result<(), String>>();
    wpc.define_async_host_function("h", never).unwrap();
    let waits = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/hostile/waits-for-the-host.wat");
    let waits = WasmModule::new(wat::parse_file(waits).unwrap()).grant_host_function("h");
    wpc.define_worker_function("waits", waits).unwrap();
    let suspended: Vec<_> = (0..CALLS).map(|_| wpc.submit::<()>("waits", ()).unwrap()).collect();
    eventually(|| wpc.metrics().suspended_calls == count);
    drop(suspended);
    for _ in 0..100 {
        assert_eq!(wpc.call::<i32>("f", ()).unwrap(), 7);
    }
    eventually(|| wpc.get_sandbox_usage().live_instances <= 2);
    // A worker frees the slot of a call after it has dropped its guest.
    eventually(|| wpc.metrics().suspended_calls == 0 && wpc.metrics().pending_calls == 0);
    for health in wpc.get_worker_health_states() {
        assert_eq!(health.restart_attempt, 0);
    }
}

fn eventually(holds: impl Fn() -> bool) {
    let until = Instant::now() + TEST_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < until, "it did not become true within {TEST_TIMEOUT:?}");
        std::thread::yield_now();
    }
}

fn maps_run_out() {
    // Maps of the embedder: engines with fibers, each of which takes two maps.
    let limit: usize =
        std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    let mut others = Vec::new();
    // On a machine that allows millions of maps the limit is not reached.
    if limit > 1 << 20 {
        return;
    }
    while maps() < limit - limit / 8 {
        let mut pool = wasmtime::PoolingAllocationConfig::new();
        pool.total_stacks(1000).total_core_instances(1).total_memories(1).total_tables(1);
        let mut config = wasmtime::Config::new();
        config.async_stack_size(64 << 10).max_wasm_stack(32 << 10);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
        others.push(wasmtime::Engine::new(&config).unwrap());
    }
    let small = || Options::default().max_live_instances(8);
    let first = working_pool(small(), 1).unwrap();
    let mut pools = Vec::new();
    let refused = loop {
        match working_pool(small(), 8) {
            Ok(wpc) => pools.push(wpc),
            Err(error) => break error,
        }
    };
    assert_eq!(limited(refused, OsResource::MemoryMaps).limit, limit as u64);
    assert!(maps() < limit - 128, "a reserve of maps is kept");
    // Existing pools keep working, and new ones can be created once maps are free.
    assert_eq!(first.call::<i32>("f", ()).unwrap(), 7);
    drop(others);
    let until = Instant::now() + TEST_TIMEOUT;
    loop {
        match working_pool(small(), 8) {
            Ok(_) => break,
            // A count that caused a rejection is cached for a moment.
            Err(Error::OsLimit { .. }) if Instant::now() < until => std::thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

fn many_pools() {
    let mut pools = Vec::new();
    let refused = loop {
        match working_pool(Options::default(), 2) {
            Ok(wpc) => pools.push(wpc),
            Err(error) => break error,
        }
    };
    limited(refused, OsResource::AddressSpace);
    assert!(pools.len() > 8, "{} pools", pools.len());
    drop(pools);
    working_pool(Options::default(), 2).unwrap();
}

fn little_address_space() {
    let refused =
        limited(working_pool(Options::default(), 1).unwrap_err(), OsResource::AddressSpace);
    assert_eq!(refused.limit, 8 << 30);
    let options = Options::default().max_live_instances(1);
    working_pool(options, 1).unwrap();
}

fn stacks_without_space() {
    let wpc = WorkerProcedureCall::new(
        Options::default().max_live_instances(1000).max_wasm_stack(64 << 20),
    );
    let wpc = wpc.unwrap();
    limited(wpc.start_workers(200).unwrap_err(), OsResource::AddressSpace);
    // The threads that did start end after that, and free their stacks.
    let until = Instant::now() + TEST_TIMEOUT;
    while let Err(error) = wpc.start_workers(2) {
        assert!(Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}

/// Sandboxes with an exception heap are not pooled, so each reserves 4 GiB of address space.
fn exceptions_without_space() {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    wpc.start_workers(1).unwrap();
    let module = r#"(module (memory 1) (tag) (func (export "f") (result i32) i32.const 7))"#;
    let module = || wpc_host::WasmModule::new(wat::parse_str(module).unwrap()).export("f");
    wpc.define_worker_function("one", module()).unwrap();
    wpc.define_worker_function("two", module()).unwrap();
    assert_eq!(wpc.call::<i32>("one", ()).unwrap(), 7);
    let refused = limited(wpc.call::<i32>("two", ()).unwrap_err(), OsResource::AddressSpace);
    assert_eq!(refused.what, "a sandbox of function \"two\"");
    assert_eq!(wpc.call::<i32>("one", ()).unwrap(), 7);
    // The worker drops the sandbox when it next checks its definitions.
    assert!(wpc.undefine_worker_function("one"));
    let until = Instant::now() + TEST_TIMEOUT;
    while let Err(error) = wpc.call::<i32>("two", ()) {
        assert!(Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}

fn no_threads() {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    assert!(limited(wpc.start_workers(64).unwrap_err(), OsResource::Threads).limit >= 1);
}

fn few_descriptors() {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    wpc.start_workers(1).unwrap();
    let mut defined = 0;
    let refused = loop {
        let name = format!("f{defined}");
        let module = format!(
            r#"(module (memory 1) (data (i32.const 8) "{name}") (func (export "f") (result i32) i32.const 7))"#
        );
        let module = wpc_host::WasmModule::new(wat::parse_str(module).unwrap()).export("f");
        match wpc.define_worker_function(&name, module) {
            Ok(_) => assert_eq!(wpc.call::<i32>(&name, ()).unwrap(), 7),
            Err(error) => break error,
        }
        defined += 1;
    };
    assert_eq!(limited(refused, OsResource::FileDescriptors).limit, 64);
    assert!(defined > 8, "{defined} modules");
    assert_eq!(wpc.call::<i32>("f0", ()).unwrap(), 7);
}

/// A function that counts its calls, and calls a blocking host function.
const COUNTS: &str = r#"(module
    (import "wpc-host" "h" (func $h (param i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "counts") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (drop (call $h (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 64)))
        global.get $calls))"#;

fn few_threads() {
    let blocking = working_pool(Options::default().max_live_instances(8), 1).unwrap();
    blocking.define_blocking_host_function("h", |_, (): ()| Ok::<_, String>(())).unwrap();
    let counts = WasmModule::new(wat::parse_str(COUNTS).unwrap()).grant_host_function("h");
    blocking.define_worker_function("counts", counts).unwrap();
    let mut pools = Vec::new();
    let refused = loop {
        match working_pool(Options::default().max_live_instances(8), 2) {
            Ok(wpc) => pools.push(wpc),
            Err(error) => break error,
        }
    };
    let refused = limited(refused, OsResource::Threads);
    assert!(
        refused.limit >= 40 && refused.reserve == 4,
        "{} and {}",
        refused.limit,
        refused.reserve
    );
    // How many fit depends on the threads that earlier pools have not ended yet.
    assert!(!pools.is_empty(), "a pool is refused although 40 threads are allowed");
    // The reserve stays available to other code.
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    for _ in 0..4 {
        let released = std::sync::Arc::clone(&released);
        #[expect(clippy::disallowed_methods, reason = "four, until the sender is dropped")]
        std::thread::Builder::new().spawn(move || released.lock().unwrap().recv()).unwrap();
    }
    assert_eq!(pools[0].call::<i32>("f", ()).unwrap(), 7);
    // A guest that ended because no helper thread could be started is not used again.
    limited(blocking.call::<i32>("counts", ()).unwrap_err(), OsResource::Threads);
    drop((release, pools));
    let until = Instant::now() + TEST_TIMEOUT;
    let counted = loop {
        match blocking.call::<i32>("counts", ()) {
            Ok(counted) => break counted,
            Err(error) => drop(limited(error, OsResource::Threads)),
        }
        assert!(Instant::now() < until, "the threads of the other pools have not ended");
    };
    assert_eq!(counted, 1);
}

/// A function that opens the only directory granted to it `count` times, and returns the first error.
const OPENS: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) ".")
    (func (export "opens") (param $count i32) (result i32) (local $error i32)
        (loop
            (local.set $error
                (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 2)
                    (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 32)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br_if 0 (i32.and (i32.eqz (local.get $error)) (i32.gt_s (local.get $count) (i32.const 0)))))
        local.get $error))"#;

fn files_of_guests() {
    const TOO_MANY_FILES: i32 = 33;
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    wpc.start_workers(1).unwrap();
    let module = WasmModule::new(wat::parse_str(OPENS).unwrap())
        .limits(Limits::default().open_files(1000))
        .grant_wasi(Wasi::new().read_directory("/", "/"));
    wpc.define_worker_function("opens", module).unwrap();
    assert_eq!(wpc.call::<i32>("opens", (8,)).unwrap(), 0);
    assert_eq!(wpc.call::<i32>("opens", (1000,)).unwrap(), TOO_MANY_FILES);
    // The reserve stays available to other code, whose files are counted as well.
    let others: Vec<_> = (0..16).map(|_| std::fs::File::open("/").unwrap()).collect();
    assert_eq!(wpc.call::<i32>("opens", (1,)).unwrap(), TOO_MANY_FILES);
    drop(others);
}

fn granted_directories() {
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    wpc.start_workers(1).unwrap();
    let granted = |count| {
        let wasi =
            (0..count).fold(Wasi::new(), |wasi, at| wasi.read_directory("/", format!("/{at}")));
        WasmModule::new(wat::parse_str(OPENS).unwrap()).grant_wasi(wasi)
    };
    let refused = wpc.define_worker_function("opens", granted(60)).unwrap_err();
    assert_eq!(limited(refused, OsResource::FileDescriptors).needed, 60);
    // The definition keeps the directories open, and each sandbox opens them again.
    wpc.define_worker_function("opens", granted(24)).unwrap();
    let refused = limited(wpc.call::<i32>("opens", (1,)).unwrap_err(), OsResource::FileDescriptors);
    assert_eq!(refused.what, "a sandbox of function \"opens\"");
    wpc.define_worker_function("opens", granted(2)).unwrap();
    assert_eq!(wpc.call::<i32>("opens", (1,)).unwrap(), 0);
}
