//! Operators' keys.

use towline_auth::Secret;

use crate::config::setting::Setting;

/// Operators' keys. Without any, the admin interface is not there.
#[derive(Debug, Clone, Default)]
pub struct AdminSettings {
    /// Keys that may look and change what runs.
    pub keys_full: Vec<Secret>,
    /// Keys that may look.
    pub keys_read: Vec<Secret>,
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new(
            "admin.keys_full",
            |c| &mut c.admin.keys_full,
            "secrets of operators; without any the admin interface is off",
        ),
        Setting::new("admin.keys_read", |c| &mut c.admin.keys_read, "secrets of operators who may only look"),
    ]
}
