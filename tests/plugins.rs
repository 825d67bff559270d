//! The plug-ins of `examples/guests`, each with real input and with input that it must reject.

use crate::support::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use wpc_host::{CallOptions, Error, EventDetails, HealthState, Limits, WorkerProcedureCall};

/// 320 by 200.
const JPEG: &[u8] = include_bytes!("../fixtures/images/hills.jpg");
/// 96 by 60, with a transparent sky.
const PNG: &[u8] = include_bytes!("../fixtures/images/hills.png");

#[track_caller]
fn check_guest_error<T: std::fmt::Debug>(result: Result<T, Error>, name: &str) -> String {
    let Err(Error::Guest { error, .. }) = result else { panic!("not `{name}`: {result:?}") };
    assert_eq!(error.name, name, "{}", error.message);
    error.message
}

/// A guest error does not affect a sandbox: nothing restarts, and every worker stays ready.
#[track_caller]
fn check_unharmed(wpc: &WorkerProcedureCall) {
    // A worker whose thread waits for a core is reported as degraded meanwhile.
    eventually(|| {
        let workers = wpc.get_worker_health_states();
        workers.iter().all(|worker| worker.health_state == HealthState::Ready)
    });
    for worker in wpc.get_worker_health_states() {
        assert_eq!(worker.restart_attempt, 0);
    }
}

#[test]
fn markdown_becomes_html_that_is_safe_to_embed() {
    let wpc = pool(1);
    wpc.define_worker_function("markdown_to_html", guest("markdown")).unwrap();
    let render = wpc.function::<(String,), String>("markdown_to_html").unwrap();
    let html = render
        .call(("# Tea\n\n|leaf|°C|\n|-|-|\n|green|80|\n\n- [x] ~~boil~~ wait[^1]\n\n[^1]: 3 min.",))
        .unwrap();
    for piece in
        ["<h1>Tea</h1>", "<td>green</td>", "checkbox", "<del>boil</del>", "id=\"note-1\"", "3 min."]
    {
        assert!(html.contains(piece), "no {piece} in {html}");
    }
    assert_eq!(
        render.call(("<img src=x onerror=alert(1)>[go](javascript:alert(1))",)).unwrap(),
        "<p>&lt;img src=x onerror=alert(1)&gt;<a href=\"\">go</a></p>\n"
    );
    assert_eq!(render.call(("",)).unwrap(), "");
}

fn with_thumbnails() -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_worker_module(guest("thumbnail")).unwrap();
    wpc
}

#[test]
fn thumbnails_keep_the_ratio_and_enlarge_nothing() {
    let wpc = with_thumbnails();
    let thumbnail = wpc.function::<(Vec<u8>, u32), Vec<u8>>("thumbnail").unwrap();
    let dimensions = wpc.function::<(Vec<u8>,), (u32, u32)>("dimensions").unwrap();
    for (image, max_side, expected) in [
        (JPEG, 64, (64, 40)),
        (JPEG, 1, (1, 1)),
        (JPEG, 1000, (320, 200)),
        (PNG, 48, (48, 30)),
        (PNG, 96, (96, 60)),
    ] {
        let small = thumbnail.call((image, max_side)).unwrap();
        assert!(small.starts_with(b"\x89PNG"));
        assert_eq!(dimensions.call((&small,)).unwrap(), expected);
    }
    assert_eq!(dimensions.call((JPEG,)).unwrap(), (320, 200));
}

#[test]
fn invalid_and_hostile_images_are_rejected_by_name() {
    let wpc = with_thumbnails();
    let thumbnail = |image: &[u8], side: u32| wpc.call::<Vec<u8>>("thumbnail", (image, side));
    check_guest_error(thumbnail(b"", 64), "UnknownFormat");
    check_guest_error(thumbnail(b"no picture at all", 64), "UnknownFormat");
    check_guest_error(thumbnail(&PNG[..400], 64), "BadImage");
    check_guest_error(thumbnail(PNG, 0), "BadSize");
    check_guest_error(thumbnail(PNG, 2049), "BadSize");
    // An image with one damaged byte is rejected or decoded, and never traps.
    for at in 0..PNG.len() {
        let mut damaged = PNG.to_vec();
        damaged[at] ^= 0x55;
        let result = thumbnail(&damaged, 64);
        assert!(matches!(result, Ok(_) | Err(Error::Guest { .. })), "{at}: {result:?}");
    }
    // 5 KB that declare 268 million pixels.
    let mut huge = JPEG.to_vec();
    let frame = huge.windows(2).position(|two| two == b"\xff\xc0").unwrap();
    huge[frame + 5..][..4].copy_from_slice(&[0x40, 0, 0x40, 0]);
    assert_eq!(wpc.call::<(u32, u32)>("dimensions", (&huge,)).unwrap(), (16_384, 16_384));
    check_guest_error(thumbnail(&huge, 64), "ImageTooLarge");
    huge[frame + 5] = 0x41;
    check_guest_error(wpc.call::<(u32, u32)>("dimensions", (&huge,)), "ImageTooLarge");
    check_unharmed(&wpc);
}

#[test]
fn the_redactor_follows_its_constant_and_compiles_it_once() {
    let wpc = pool(1);
    let events = Recorder::new(&wpc);
    wpc.define_worker_function("redact", guest("redactor")).unwrap();
    let text = "Ann, ann@example.org, 4111 1111 1111 1111, Ünal";
    let redact = || wpc.call::<String>("redact", (text,));
    let define = |patterns: &[&str]| wpc.define_worker_constant("REDACT_PATTERNS", patterns);
    assert_eq!(code(redact()), "constant_not_defined");

    define(&[r"\w+@\w+(\.\w+)+", r"\b(\d{4}[ -]?){4}\b"]).unwrap();
    for _ in 0..3 {
        assert_eq!(redact().unwrap(), "Ann, [redacted], [redacted], Ünal");
    }
    define(&[r"(?i)\bann\b", r"(?i)ünal", r"\d"]).unwrap();
    assert_eq!(
        redact().unwrap(),
        format!(
            "[redacted], [redacted]@example.org, {}, [redacted]",
            [&"[redacted]".repeat(4); 4].map(String::as_str).join(" ")
        )
    );
    let mut compiled = Vec::new();
    let compilations = Mutex::new(&mut compiled);
    events.wait_for(|event| {
        if let EventDetails::GuestLog { message, .. } = &event.details {
            compilations.lock().unwrap().push(message.clone());
        }
        compilations.lock().unwrap().len() == 2
    });
    assert_eq!(compiled, ["compiled 2 patterns", "compiled 3 patterns"]);

    define(&["fine", "(open"]).unwrap();
    let message = check_guest_error(redact(), "BadPattern");
    assert!(message.contains("`(open`"), "{message}");
    // A constant of another type is rejected, and the previous one stays.
    assert_eq!(code(wpc.define_worker_constant("REDACT_PATTERNS", &5_u64)), "type_mismatch");
    check_guest_error(redact(), "BadPattern");
    define(&[]).unwrap();
    assert_eq!(redact().unwrap(), text);
    check_unharmed(&wpc);
}

/// `compress`, and `decompress` within the limits.
fn with_compression(limits: Limits) -> WorkerProcedureCall {
    let wpc = pool(1);
    wpc.define_worker_function("compress", guest("compression")).unwrap();
    wpc.define_worker_function("decompress", guest("compression").limits(limits)).unwrap();
    wpc
}

#[test]
fn a_c_library_compresses_and_restores() {
    let wpc = with_compression(Limits::default());
    let compress = wpc.function::<(Vec<u8>, i32), Vec<u8>>("compress").unwrap();
    let decompress = wpc.function::<(Vec<u8>, u32), Vec<u8>>("decompress").unwrap();
    let text = include_bytes!("../docs/abi.md").as_slice();
    let size = u32::try_from(text.len()).unwrap();
    let mut sizes = Vec::new();
    for level in [i32::MIN, 1, 3, 19, i32::MAX] {
        let packed = compress.call((text, level)).unwrap();
        assert_eq!(decompress.call((&packed, size)).unwrap(), text, "level {level}");
        sizes.push(packed.len());
    }
    assert!(sizes.is_sorted_by(|a, b| a >= b), "higher levels compress better: {sizes:?}");
    assert!(sizes[4] < text.len() / 2, "{sizes:?}");
    let nothing = compress.call((&[][..], 3)).unwrap();
    assert!(decompress.call((&nothing, 0)).unwrap().is_empty());
}

#[test]
fn decompression_bombs_and_damaged_data_are_rejected_within_little_memory() {
    // An eighth of the size that the bomb would decompress to.
    let wpc = with_compression(Limits::default().memory(8 << 20));
    // Sixteen frames of 4 MiB each.
    let frame = wpc.call::<Vec<u8>>("compress", (vec![0_u8; 4 << 20], 3)).unwrap();
    let bomb = frame.repeat(16);
    assert!(bomb.len() < 8 << 10, "{}", bomb.len());
    let decompress = |bytes: &[u8], size: u32| wpc.call::<Vec<u8>>("decompress", (bytes, size));
    check_guest_error(decompress(&bomb, 1 << 20), "TooLarge");
    check_guest_error(decompress(&bomb, 0), "TooLarge");

    check_guest_error(decompress(b"", 100), "CorruptData");
    check_guest_error(decompress(b"no frame", 100), "CorruptData");
    check_guest_error(decompress(&frame[..frame.len() - 1], 8 << 20), "CorruptData");
    for at in 0..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 0x55;
        let result = decompress(&damaged, 1 << 20);
        assert!(matches!(result, Ok(_) | Err(Error::Guest { .. })), "{at}: {result:?}");
    }
    check_unharmed(&wpc);
}

#[test]
fn archives_are_packed_with_a_dependency() {
    let wpc = pool(1);
    wpc.define_worker_module(guest("archive")).unwrap();
    let files = vec![
        ("notes/tea.html".to_owned(), b"<h1>Tea</h1>".repeat(100)),
        ("empty".to_owned(), Vec::new()),
        ("hills.jpg".to_owned(), JPEG.to_vec()),
    ];
    assert_eq!(code(wpc.call::<Vec<u8>>("pack", (&files,))), "dependency_not_defined");
    wpc.define_worker_dependency("compression", guest("compression")).unwrap();

    let packed: Vec<u8> = wpc.call("pack", (&files,)).unwrap();
    assert!(packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "it is a Zstandard frame");
    let unpack =
        |bytes: &[u8], size: u32| wpc.call::<Vec<(String, Vec<u8>)>>("unpack", (bytes, size));
    assert_eq!(unpack(&packed, 1 << 20).unwrap(), files);

    // Errors of the dependency are returned unchanged.
    check_guest_error(unpack(&packed, 1000), "TooLarge");
    check_guest_error(unpack(b"no archive", 1000), "CorruptData");
    let escapes = vec![("../../etc/passwd", b"root".to_vec())];
    check_guest_error(wpc.call::<Vec<u8>>("pack", (&escapes,)), "BadName");
    check_unharmed(&wpc);
}

#[test]
fn a_counter_counts_for_its_worker_or_for_its_call() {
    let wpc = pool(2);
    wpc.define_worker_module(guest("counter")).unwrap();
    let mut counts = BTreeMap::new();
    for user in 0..100 {
        let options = CallOptions::new().affinity(user);
        let answer = wpc.submit_with::<u64>("count", (), &options).unwrap().wait_answer().unwrap();
        let count = counts.entry(answer.metadata.worker_id).or_insert(0);
        *count += 1;
        assert_eq!(answer.value, *count, "the worker's own count");
    }
    assert_eq!(counts.len(), 2, "both workers counted");
    // The functions of a module share their state.
    let same = CallOptions::new().affinity("one worker");
    let before: u64 = wpc.call_with("count", (), &same).unwrap();
    assert_eq!(wpc.call_with::<u64>("add", (40_u64,), &same).unwrap(), before + 40);

    wpc.define_worker_module(guest("counter").isolate_calls()).unwrap();
    for _ in 0..10 {
        assert_eq!(wpc.call::<u64>("count", ()).unwrap(), 1);
    }
    assert_eq!(wpc.call::<u64>("add", (40_u64,)).unwrap(), 40);
}

#[test]
fn notes_use_the_hosts_store_and_need_its_grants() {
    let wpc = pool(2);
    let error = wpc.define_worker_module(guest("notes").grant_host_function("kv_get")).unwrap_err();
    assert_eq!(
        error.remedy().unwrap().to_string(),
        "grant it with `.grant_host_function(\"kv_set\")`"
    );

    let notes = guest("notes").grant_host_function("kv_get").grant_host_function("kv_set");
    wpc.define_worker_dependency("markdown", guest("markdown")).unwrap();
    wpc.define_worker_module(notes).unwrap();
    assert_eq!(code(wpc.call::<String>("show_note", ("tea",))), "host_function_not_defined");

    let store = Arc::new(Mutex::new(HashMap::new()));
    let reads = Arc::clone(&store);
    wpc.define_host_function("kv_get", move |_, (key,): (String,)| {
        Ok::<Option<String>, String>(reads.lock().unwrap().get(&key).cloned())
    })
    .unwrap();
    let writes = Arc::clone(&store);
    wpc.define_host_function("kv_set", move |_, (key, value): (String, String)| {
        if value.len() > 100 {
            return Err("the store is full");
        }
        writes.lock().unwrap().insert(key, value);
        Ok(())
    })
    .unwrap();

    wpc.call::<()>("write_note", ("tea", "*80 °C* <script>")).unwrap();
    assert_eq!(store.lock().unwrap().get("note/tea").unwrap(), "*80 °C* <script>");
    for _ in 0..10 {
        let html: String = wpc.call("show_note", ("tea",)).unwrap();
        assert_eq!(html, "<p><em>80 °C</em> &lt;script&gt;</p>\n", "on every worker");
    }
    check_guest_error(wpc.call::<String>("show_note", ("coffee",)), "NoSuchNote");
    let message =
        check_guest_error(wpc.call::<()>("write_note", ("long", "x".repeat(101))), "Error");
    assert_eq!(message, "the store is full");
    check_unharmed(&wpc);
}

#[test]
fn a_compressed_log_is_searched_while_it_is_decompressed() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Line {
        number: u64,
        text: String,
    }
    let wpc = pool(1);
    wpc.define_worker_function("search", guest("logs").limits(Limits::default().memory(4 << 20)))
        .unwrap();
    // 100,000 lines, which take 1.3 MB when they are decompressed.
    let log = include_bytes!("../fixtures/logs/access.log.gz");
    let search = wpc.function::<(Vec<u8>, String), u64>("search").unwrap();
    let mut found = search.stream::<Line>((&log[..], " 404")).unwrap();
    let first = found.next_blocking().unwrap().unwrap();
    assert_eq!(first, Line { number: 1000, text: "GET /tea 404".to_owned() });
    assert_eq!((&mut found).into_iter().map(Result::unwrap).count(), 99);
    assert_eq!(found.finish().unwrap(), 100_000);

    let mut found = search.stream::<Line>((&log[..log.len() - 4], " 404")).unwrap();
    assert_eq!((&mut found).into_iter().filter(Result::is_ok).count(), 100);
    let failed = found.finish().unwrap_err();
    assert_eq!(failed.delivered, 100);
    check_guest_error(Err::<(), _>(*failed.error), "CorruptLog");
    check_unharmed(&wpc);
}
