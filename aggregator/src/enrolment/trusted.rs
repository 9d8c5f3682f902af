//! Whom members are to trust, as who signs says it: asked for now and then, so that any aggregator can answer many.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use starling_proto::v1;
use starling_service::grpc::enrolment_client::EnrolmentClient;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::Enrolment;
use crate::query::marked;

/// How long until a change is known at every aggregator.
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// For how long what was said counts as what is: a member that follows an old answer would take back a change.
const FRESH_FOR: Duration = Duration::from_secs(15);

/// The last answer of who signs, and when it came.
#[derive(Debug, Default)]
pub(super) struct Trusted(Option<(Instant, v1::Authorities)>);

impl Trusted {
    /// What is said to who asks; `None` when nobody who signs was heard of late.
    pub(super) fn fresh(&self, now: Instant) -> Option<v1::Authorities> {
        let (at, said) = self.0.as_ref()?;
        (now.saturating_duration_since(*at) < FRESH_FOR).then(|| said.clone())
    }
}

/// Asks who signs until `stop`; who signs itself need not.
pub(crate) async fn follow(enrolment: Arc<Enrolment>, stop: CancellationToken) {
    if enrolment.signing.is_some() {
        return stop.cancelled().await;
    }
    loop {
        let asked = async {
            tokio::time::sleep(ASKED_EVERY).await;
            enrolment.of_signer(ask).await
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            said = asked => {
                if let Some(said) = said {
                    let mut trusted = enrolment.trusted.lock().unwrap_or_else(PoisonError::into_inner);
                    *trusted = Trusted(Some((Instant::now(), said)));
                }
            }
        }
    }
}

/// What another one says; `None` when it does not sign, or not answer.
async fn ask(channel: Channel) -> Option<v1::Authorities> {
    let mut client = EnrolmentClient::new(channel);
    let mut request = marked(v1::GetAuthoritiesRequest {});
    request.set_timeout(ASKED_WITHIN);
    let answer = tokio::time::timeout(ASKED_WITHIN, client.get_authorities(request)).await.ok()?.ok()?.into_inner();
    (!answer.signed_by.is_empty()).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_who_signs_said_long_ago_is_not_said_on() {
        let now = Instant::now();
        let said = v1::Authorities { cluster: "test".to_owned(), ..v1::Authorities::default() };
        let trusted = Trusted(Some((now, said.clone())));
        assert_eq!(trusted.fresh(now + Duration::from_secs(14)), Some(said));
        assert_eq!(trusted.fresh(now + FRESH_FOR), None);
        assert_eq!(Trusted::default().fresh(now), None);
    }
}
