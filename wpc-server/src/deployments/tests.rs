//! Activations that the pool refuses after the store has accepted them.

use super::*;

/// What runs once between the transaction of an activation and the change to the pool.
#[derive(Default)]
pub(super) struct Interruption(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interruption")
    }
}

impl Interruption {
    pub(super) fn run(&self) {
        if let Some(run) = self.0.lock().unwrap().take() {
            run();
        }
    }
}

/// Deployments with a dependency that is not part of them.
struct Case {
    deployments: Deployments,
    _data: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let deployments = Deployments::open(store, Setup::new(), None).unwrap();
        let module = wat::parse_str("(module (func (export \"get\") (result i32) i32.const 7))");
        deployments.pool().define_worker_dependency("other", module.unwrap()).unwrap();
        Self { deployments, _data: data }
    }

    /// Registers a revision whose function `name` uses the dependency.
    fn register(&self, name: &str) -> u64 {
        let module = wat::parse_str(format!(
            "(module (import \"other\" \"get\" (func $get (result i32)))
                (func (export \"{name}\") (result i32) call $get))"
        ));
        let mut upload = self.deployments.modules().begin().unwrap();
        upload.write(&module.unwrap()).unwrap();
        let (stored, _) = self.deployments.modules().finish(upload, None).unwrap();
        let text = format!("[functions.{name}]\nfile = \"{}.wasm\"\n", stored.hash_sha256);
        let registration = Registration { author: "ada", text, base: None, note: None };
        self.deployments.register(registration, false).unwrap().revision.unwrap().number
    }

    /// Replaces the dependency after the next activation was written, so that the pool refuses what needs it.
    fn break_next(&self) {
        let pool = self.deployments.pool().clone();
        let replace = move || {
            let module = wat::parse_str("(module)").unwrap();
            pool.define_worker_dependency("other", module).unwrap();
        };
        *self.deployments.0.interruption.0.lock().unwrap() = Some(Box::new(replace));
    }

    fn functions(&self) -> Vec<String> {
        let functions = self.deployments.pool().get_remote_functions();
        functions.into_iter().map(|function| function.name).collect()
    }
}

#[test]
fn an_activation_that_the_pool_refuses_is_undone_in_the_store() {
    let case = Case::new();
    let empty =
        Registration { author: "ada", text: "# Nothing.\n".to_owned(), base: None, note: None };
    let empty = case.deployments.register(empty, false).unwrap().revision.unwrap().number;
    case.deployments.activate("ada", empty, None).unwrap();
    let next = case.register("f");
    case.break_next();
    let refused = case.deployments.activate("ada", next, Some(empty)).unwrap_err();
    assert!(matches!(refused, Refusal::Problems(_)), "{refused}");
    assert_eq!(case.deployments.revisions().active().unwrap(), Some(empty));
    assert_eq!((case.deployments.state().active, case.functions()), (Some(empty), Vec::new()));
    let history = case.deployments.revisions().activations(2).unwrap();
    let history: Vec<_> = history.iter().map(|found| found.revision).collect();
    assert_eq!(history, [empty], "a rollback must not return to the refused revision");
}

#[test]
fn a_first_activation_that_the_pool_refuses_leaves_nothing_active() {
    let case = Case::new();
    let first = case.register("f");
    case.break_next();
    case.deployments.activate("ada", first, None).unwrap_err();
    assert_eq!(case.deployments.revisions().active().unwrap(), None);
    assert_eq!(case.deployments.revisions().activations(1).unwrap(), []);
    assert_eq!((case.deployments.state().active, case.functions()), (None, Vec::new()));
}

#[test]
fn a_rollback_returns_to_another_revision_although_the_active_one_was_activated_again() {
    let case = Case::new();
    let (first, second) = (case.register("f"), case.register("g"));
    for (revision, expected) in [(first, None), (second, Some(first)), (second, Some(second))] {
        case.deployments.activate("ada", revision, expected).unwrap();
    }
    // That revision is kept, however few are.
    case.deployments.keep_revisions(std::num::NonZeroUsize::MIN).unwrap();
    let rollback = Rollback { author: "ada", to: None, function: None, expected: None, note: None };
    case.deployments.roll_back(&rollback).unwrap();
    assert_eq!(case.functions(), ["f"]);
}

#[test]
fn a_stored_module_that_is_damaged_counts_as_missing() {
    let case = Case::new();
    let (_, text) = case.deployments.revision(case.register("f")).unwrap();
    let module = text.split('"').nth(1).unwrap();
    std::fs::write(case.deployments.modules().folder().join(module), "damaged").unwrap();
    let registration = Registration { author: "ada", text, base: None, note: Some("again") };
    let refused = case.deployments.register(registration, false).unwrap_err();
    assert!(matches!(refused, Refusal::Missing(_)), "{refused}");
}
