//! What identifies a function wherever a manifest is deployed: its whole definition.

use super::desired::Content;
use super::prepare::Prepared;
use crate::document::items;
use crate::item::{Item, Kind};
use crate::manifest::Source;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use wpc_host::{FunctionHash, FunctionInformation, Sha256Hash};

/// A function of a deployment, with the hash of its definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeployedFunction {
    /// What a pool reports about it. Its number of workers is 0.
    pub information: FunctionInformation,
    /// The SHA-256 of its definition: of its module, its dependencies and the constants that they read, and of its limits,
    /// grants and other settings as the manifest writes them. A secret is represented by its reference. Two pools with the same
    /// hash run the same code under the same rules.
    pub definition: Sha256Hash,
    /// The item of the manifest that defines it.
    pub item: Item,
    /// Whether a call may be run again if it is not known whether it ran: `pure` in the manifest.
    pub is_pure: bool,
    /// The time limit of its calls, if the manifest states one for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Duration>,
    /// Whether the fuel of its calls is metered: the manifest limits it.
    #[serde(default)]
    pub is_metered: bool,
}

impl DeployedFunction {
    /// A function of its own entry that is not pure, is not metered and has no time limit of its own. The other fields can be set.
    #[must_use]
    pub fn new(information: FunctionInformation, definition: Sha256Hash) -> Self {
        let item = Item::new(Kind::Function, information.name.clone());
        Self { information, definition, item, is_pure: false, time_limit: None, is_metered: false }
    }
}

/// The version of the format of the text that is hashed. Changing the format changes every hash.
const FORM: &str = "wpc definition 1";

impl Prepared {
    /// All functions of the deployment as they will be, sorted by name. `source` is the manifest that was prepared.
    #[must_use]
    pub fn deployed(&self, source: &Source) -> Vec<DeployedFunction> {
        let written = items(source);
        let mut functions: BTreeMap<String, FunctionInformation> = BTreeMap::new();
        let present = self.next.pool().get_remote_functions();
        let checked = self.checked.functions.iter().chain(&self.checked.relinked).cloned();
        for function in present.into_iter().chain(checked) {
            functions.insert(function.name.clone(), function);
        }
        functions.retain(|name, _| self.next.owner(name).is_some());
        let mut modules = BTreeMap::new();
        for (item, content) in &self.next.active {
            if let Content::Module(entry, bytes) = content {
                let limits = entry.limits.chosen();
                let settings = (entry.pure, limits.timeout, limits.fuel.is_some());
                modules.insert(item, (module_text(bytes), settings));
            }
        }
        let mut of = |mut information: FunctionInformation| {
            information.installed_worker_count = 0;
            let owner = self.next.owner(&information.name)?;
            let (module, settings) = modules.get(owner)?;
            let part = |kind, names: &[String]| {
                let part = |name: &String| {
                    let item = Item { kind, name: name.clone() };
                    let module = modules.get(&item).map(|(module, ..)| module);
                    (name.clone(), json!({ "item": written.get(&item), "module": module }))
                };
                names.iter().map(part).collect::<Map<_, _>>()
            };
            let definition = json!({
                "form": FORM,
                "function": information.name,
                "owner": owner.to_string(),
                "item": written.get(owner),
                "module": module,
                "dependencies": part(Kind::Dependency, &information.required_dependencies),
                "constants": part(Kind::Constant, &information.required_constants),
            });
            let definition = Sha256Hash::of(sorted(definition).to_string().as_bytes());
            let (is_pure, time_limit, is_metered) = *settings;
            let item = owner.clone();
            Some(DeployedFunction {
                information,
                definition,
                item,
                is_pure,
                time_limit,
                is_metered,
            })
        };
        functions.into_values().filter_map(&mut of).collect()
    }
}

/// What identifies a module.
fn module_text(bytes: &[u8]) -> Value {
    json!({
        "sha1": FunctionHash::of(bytes).to_string(),
        "sha256": Sha256Hash::of(bytes).to_string(),
        "length": bytes.len(),
    })
}

/// The value with the keys of all its objects in order, whatever order the map type of this build has.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.into_iter().collect();
            members.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::deployment::{Deployment, Setup};
    use crate::manifest::Source;
    use std::path::Path;
    use wpc_host::Sha256Hash;

    const MODULE: &str = "(module
        (memory (export \"memory\") 1)
        (func (export \"f\") (param i64) (result i64) local.get 0)
        (func (export \"g\") (param i64) (result i64) local.get 0))";

    /// The hashes of the functions `f` and `g` of a manifest.
    fn hashes(folder: &Path, text: &str) -> Vec<(String, Sha256Hash, bool)> {
        let source = Source::new(folder.join("wpc.toml"), text.to_owned());
        let empty = Source::new(folder.join("wpc.toml"), String::new());
        let deployment = Deployment::open(&empty, &empty.parse().unwrap(), Setup::new()).unwrap();
        let prepared = deployment.prepare(&source, &source.parse().unwrap()).unwrap();
        let functions = prepared.deployed(&source);
        let found = functions.into_iter();
        found.map(|found| (found.information.name, found.definition, found.is_pure)).collect()
    }

    #[test]
    fn a_definition_is_identified_by_everything_that_decides_how_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("a.wat"), MODULE).unwrap();
        std::fs::write(path.join("b.wat"), MODULE.replace("local.get 0)\n", "i64.const 1)\n"))
            .unwrap();
        let base = "[functions.f]\nfile = \"a.wat\"\n[functions.g]\nfile = \"a.wat\"\n";
        let first = hashes(path, base);
        assert_eq!(first, hashes(path, base), "it is the same everywhere");
        let same = "# A comment.\n[functions]\ng = { file = \"a.wat\" }\nf.file = \"a.wat\"\n";
        assert_eq!(first, hashes(path, same), "the form of the text does not matter");
        for (change, text) in [
            ("another module", base.replacen("a.wat", "b.wat", 1)),
            ("a limit", base.replacen("\"\n", "\"\nlimits = { timeout = \"1s\" }\n", 1)),
            ("a grant", base.replacen("\"\n", "\"\ngrants = [\"clock\"]\n", 1)),
            ("another setting", base.replacen("\"\n", "\"\nisolated = true\n", 1)),
        ] {
            let changed = hashes(path, &text);
            assert_ne!(changed[0], first[0], "{change}");
            assert_eq!(changed[1], first[1], "{change} of another function");
        }
        assert_ne!(first[0].1, first[1].1, "two functions of a module");
    }

    #[test]
    fn a_function_is_pure_if_the_manifest_declares_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wat"), MODULE).unwrap();
        let text = "[functions]\nf = { file = \"a.wat\", pure = true }\ng.file = \"a.wat\"\n";
        let pure: Vec<_> = hashes(folder.path(), text).into_iter().map(|found| found.2).collect();
        assert_eq!(pure, [true, false]);
    }
}
