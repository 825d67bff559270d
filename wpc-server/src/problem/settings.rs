//! The names of settings in problems: of limits, of options of the pool, and of options of a call.

use wpc_deploy::remedy::SettingNames;

/// Clients set the options of a call. Limits and options of the pool are in the manifest.
pub(super) const NAMES: SettingNames = [
    |field| format!("the limit `{field}`"),
    |field| format!("`{field}` under [pool]"),
    |field| match field {
        "correlation_id" => "the header `X-Request-Id`".to_owned(),
        "pin" => "the header `If-Match`".to_owned(),
        field => format!("the query parameter `{field}`"),
    },
];
