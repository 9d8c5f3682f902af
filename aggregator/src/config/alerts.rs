//! Settings of alerts.

use std::path::PathBuf;

use starling_service::settings::kind;

/// Most files of rules.
const FILES_MAX: usize = 32;
/// Most default rules that are left out.
const OFF_MAX: usize = 100;

starling_service::settings! {
    /// Alert rules and what becomes of what they say. The same at every aggregator.
    pub struct AlertSettings {
        /// Evaluate alert rules. Without it the page has no verdict but what is reported and what is not.
        pub enabled: bool = true, kind::flag();
        /// Files of rules (TOML, see docs/alerts.md), read again when they change. A rule of the name of a default rule takes
        /// its place.
        pub rules: Vec<PathBuf> = Vec::new(), kind::list(0..=FILES_MAX, kind::absolute_path()),
            example "[\"/etc/starling/rules.toml\"]";
        /// Names of default rules that are left out.
        pub defaults_off: Vec<String> = Vec::new(), kind::list(0..=OFF_MAX, kind::text(1..=64)),
            example "[\"disk-busy\"]";
        /// The file of notifiers and routes: who is told of an alert (TOML, see docs/alerts.md), read again when it changes.
        /// Default: nobody.
        pub notify: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/notify.toml\"";
    }
}
