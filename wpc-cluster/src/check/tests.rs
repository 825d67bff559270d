use super::*;

fn levels(add: impl FnOnce(&mut Check)) -> Vec<(&'static str, Level)> {
    let mut check = Check::default();
    add(&mut check);
    check.findings.iter().map(|finding| (finding.subject, finding.level)).collect()
}

#[test]
fn clocks_may_differ_by_at_most_a_second() {
    for (offset, level) in [
        (0, Level::Good),
        (100, Level::Good),
        (-101, Level::Warning),
        (1_000, Level::Warning),
        (1_001, Level::Error),
        (i64::MIN, Level::Error),
    ] {
        assert_eq!(levels(|check| check.clock(offset)), [("clock", level)], "{offset}");
    }
    let mut check = Check::default();
    check.clock(2_000);
    assert!(check.findings[0].text.contains("2000 ms behind"), "{check:?}");
    assert!(!check.is_fit());
}

#[test]
fn old_versions_are_refused() {
    for (version, level) in [
        ("2.9.25", Level::Error),
        ("2.10.0", Level::Good),
        ("2.15.1", Level::Good),
        ("3.0.0-beta.1", Level::Good),
        ("", Level::Error),
    ] {
        assert_eq!(levels(|check| check.version(version)), [("version", level)], "{version}");
    }
}

#[test]
fn other_machines_need_encryption_and_credentials() {
    let found = |servers: &str, change: fn(&mut ClusterOptions)| {
        let mut options = ClusterOptions::new(servers);
        change(&mut options);
        levels(|check| check.access(&options))
    };
    let token = |options: &mut ClusterOptions| {
        options.credentials = Credentials::Token("x".to_owned());
    };
    assert_eq!(found("nats://127.0.0.1:4222", |_| {}), [("encryption", Level::Good)]);
    assert_eq!(
        found("nats://10.0.0.1:4222", |_| {}),
        [("encryption", Level::Warning), ("authentication", Level::Error)]
    );
    assert_eq!(found("nats://10.0.0.1:4222", token), [("encryption", Level::Warning)]);
    assert_eq!(found("tls://nats.example:4222", token), [("encryption", Level::Good)]);
    assert_eq!(found("tls://ada:x@nats.example", |_| {}), [("encryption", Level::Good)]);
}

#[test]
fn the_registry_must_be_in_files_and_on_three_servers_of_a_cluster() {
    let found = |storage: &str, num_replicas, is_cluster| {
        let config = StreamConfig { num_replicas, storage: storage.to_owned(), allow_direct: true };
        levels(|check| check.bucket("KV_wpc_registry", "file", &config, is_cluster))[0].1
    };
    assert_eq!(found("file", 1, false), Level::Good);
    assert_eq!(found("file", 1, true), Level::Warning);
    assert_eq!(found("file", 3, true), Level::Good);
    assert_eq!(found("memory", 3, true), Level::Error);
}
