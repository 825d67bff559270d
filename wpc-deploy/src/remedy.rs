//! Errors and remedies of the library in the terms of a manifest.

use wpc_host::{Capability, Definable, Error, ErrorCode, Grant, Remedy, Setting};

/// The text of an error, followed by its remedy if there is one. Both name keys of the manifest.
#[must_use]
pub fn full_text(error: &Error) -> String {
    let text = text(error);
    match error.remedy() {
        Some(remedy) => format!("{text}; {}", remedy_text(&remedy)),
        None => text,
    }
}

/// The text of an error without its remedy. It names keys of the manifest.
#[must_use]
pub fn text(error: &Error) -> String {
    text_with(error, NAMES)
}

/// As [`text`], with other names of settings. Only texts of the library are changed: names and messages of guests may
/// look like settings.
#[must_use]
pub fn text_with(error: &Error, names: SettingNames) -> String {
    let text = error.to_string();
    if names_settings(error) { rename_settings(&text, names) } else { text }
}

/// Whether the error's text names settings, and contains no text of a guest.
fn names_settings(error: &Error) -> bool {
    match error {
        // Also if another process reported it.
        _ if matches!(error.code(), ErrorCode::InvalidOptions | ErrorCode::InvalidCallOptions) => {
            true
        }
        Error::ChangesRefused { refusals, .. } => {
            refusals.iter().all(|refusal| names_settings(&refusal.error))
        }
        _ => false,
    }
}

/// The text of a remedy. It names keys of the manifest.
#[must_use]
pub fn remedy_text(remedy: &Remedy) -> String {
    let text = match remedy {
        Remedy::StartWorkers => "start the workers first",
        Remedy::AwaitCapacity => "raise `max_pending_calls_per_worker` under [pool]",
        Remedy::RestartWorkers => {
            "wait for `circuit_breaker_cool_down` under [pool], or stop and start the workers"
        }
        Remedy::Revive => {
            "replace its module, or wait for `circuit_breaker_cool_down` under [pool]"
        }
        Remedy::CompareSignature => "compare the types with the signature that `wpc inspect` lists",
        Remedy::ReadItems => "call it as a stream",
        Remedy::ChooseExport => "choose one with `export`",
        Remedy::Define(Definable::Function) => "add it under [functions] or [modules]",
        Remedy::Define(Definable::Dependency) => "define it under [dependencies]",
        Remedy::Define(Definable::Constant) => "define it under [constants]",
        Remedy::Define(_) => "only a program that embeds the library can define it",
        Remedy::Grant(grant) => return grant_text(grant),
        Remedy::Raise(settings) => {
            let names: Vec<_> =
                settings.iter().map(|setting| setting_text(setting, NAMES)).collect();
            return format!("raise {}", names.join(" or "));
        }
        Remedy::RaiseOsLimit(_) => return rename_settings(&remedy.to_string(), NAMES),
        remedy => return remedy.to_string(),
    };
    text.to_owned()
}

fn grant_text(grant: &Grant) -> String {
    let grants = match grant {
        Grant::Function(name) => {
            let name = if name == "…" { "NAME" } else { name };
            return format!("grant it with `grants = [\"function={name}\"]`");
        }
        Grant::Capability(Capability::Clock) => "`grants = [\"clock\"]`",
        Grant::Capability(Capability::Random) => "`grants = [\"random\"]`",
        Grant::Wasi(method) => match &**method {
            "arguments" => "`grants = [\"wasi\"]` or `[\"arg=TEXT\"]`",
            "environment" => "`grants = [\"wasi\"]` or `[\"env=NAME=VALUE\"]`",
            "stdout" => "`grants = [\"wasi\"]` or `[\"output\"]`",
            "read_directory" => "`grants = [\"read=FOLDER\"]` or `[\"write=FOLDER\"]`",
            _ => "`grants = [\"wasi\"]`",
        },
        _ => return "only a program that embeds the library can grant it".to_owned(),
    };
    format!("grant it with {grants}")
}

/// The names of settings: of limits, of options of the pool, and of options of a call, each by the library's name.
pub type SettingNames = [fn(&str) -> String; 3];

/// The manifest's names.
pub const NAMES: SettingNames = [
    |field| format!("`{field}` in its limits"),
    |field| format!("`{field}` under [pool]"),
    |field| format!("`{field}` in the call"),
];

/// The name of a setting of the library.
#[must_use]
pub fn setting_text(setting: &Setting, [limit, option, call_option]: SettingNames) -> String {
    match setting {
        Setting::Limits(field) => limit(field),
        Setting::Options(field) => option(field),
        Setting::CallOptions(field) => call_option(field),
        other => other.to_string(),
    }
}

/// Replaces the library's names of settings, such as `` `Limits::fuel` ``, with other names.
#[must_use]
pub fn rename_settings(text: &str, names: SettingNames) -> String {
    let starts = ["`Limits::", "`Options::", "`CallOptions::"];
    starts.into_iter().zip(names).fold(text.to_owned(), |text, (start, name)| {
        let mut renamed = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(start) {
            let Some((field, after)) = after.split_once('`') else { break };
            renamed.push_str(before);
            renamed.push_str(&name(field));
            rest = after;
        }
        renamed + rest
    })
}

/// The manifest's name of a field of `Limits`.
pub(crate) fn limit(field: &str) -> String {
    NAMES[0](field)
}
