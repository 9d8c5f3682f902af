//! Settings of enrolment.

use std::{path::PathBuf, time::Duration};

use starling_service::{
    credentials::TlsSettings,
    settings::{Mistakes, kind},
};

const DAY: u64 = 86_400;
/// Shortest life of a certificate: who renews looks every 5 seconds whether it is time.
const LIFE_LEAST: u64 = 20;

starling_service::settings! {
    /// How programs get their certificates: `starling token create` makes a token, `starling-node join` brings it.
    pub struct EnrolmentSettings {
        /// Take joins and renewals, and pass them on to the aggregator that signs. It lets who has no certificate connect, to
        /// ask for one and for nothing else.
        pub enabled: bool = true, kind::flag();
        /// Folder of an authority: this aggregator signs. `starling ca issue aggregator NAME --signs` makes one. Of one
        /// aggregator of a cluster; the register of who has joined is in its `state_dir`.
        pub authority: Option<PathBuf> = None, kind::optional(kind::absolute_path()),
            example "\"/etc/starling/tls/aggregator/authority\"";
        /// How long a certificate lives that is signed here. It is renewed between 35 and 85 % of it.
        pub life: Duration = Duration::from_secs(7 * DAY), kind::seconds(LIFE_LEAST..=365 * DAY), key "life_secs";
        /// How long after its end a certificate is renewed, for a host that was off.
        pub grace: Duration = Duration::from_secs(30 * DAY), kind::seconds(0..=365 * DAY), key "grace_secs";
    }
}

pub(super) fn together(enrolment: &EnrolmentSettings, tls: &TlsSettings, mistakes: &mut Mistakes) {
    if enrolment.authority.is_none() {
        return;
    }
    if tls.files().is_none() {
        mistakes.add("enrolment.authority", "says nothing without TLS: set tls.certificate, tls.key and tls.ca");
    }
    if !enrolment.enabled {
        mistakes.add("enrolment.authority", "is of no use with enrolment.enabled = false");
    }
}
