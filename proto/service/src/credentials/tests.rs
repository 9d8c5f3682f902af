use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    files::validity,
    testing::{Member, Site},
    *,
};
use crate::state_folder::{self, OPEN};

#[test]
fn an_end_is_spoken_of_before_it_comes_and_not_before_who_renews_has_had_its_time() {
    const DAY: Duration = Duration::from_secs(86_400);
    let begins = SystemTime::UNIX_EPOCH + 1_000 * DAY;
    let soon = |life: Duration, left: Duration| {
        let ends = begins + BACKDATED + life;
        ends_soon(begins, ends, ends - left)
    };
    assert!(soon(365 * DAY, 29 * DAY) && !soon(365 * DAY, 31 * DAY));
    // Of `join`: it is renewed when 85 % of its life are over at the latest.
    for life in [Duration::from_secs(180), 7 * DAY, 30 * DAY] {
        assert!(soon(life, life / 9) && !soon(life, life.mul_f64(0.15)), "{life:?}");
    }
    assert!(soon(7 * DAY, Duration::ZERO), "one that has ended too");
}

/// Whether both ends take each other: who dials sees that by a first byte, since it ends its part of the handshake first.
async fn meet(dials: &Member, listens: &Member) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (here, there) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(listens.credentials.server());
    let connector = TlsConnector::from(dials.credentials.client());
    let name = "aggregator.starling".try_into().unwrap();
    let listens = async {
        let mut taken = acceptor.accept(there).await?;
        taken.write_u8(7).await?;
        taken.flush().await
    };
    let dials = async { connector.connect(name, here).await?.read_u8().await };
    let (listens, dials) = tokio::join!(listens, dials);
    listens.is_ok() && dials.is_ok()
}

#[tokio::test]
async fn a_bundle_is_taken_up_in_whatever_order_and_by_whatever_editor_it_was_written() {
    // Of one name, as a new authority of a cluster is.
    let (old, new) = (Site::new("Starling authority of test"), Site::new("Starling authority of test"));
    let (former, next) = (old.certificate(), new.certificate());
    let both = format!("{former}{next}");
    let of_old = old.member(Role::Aggregator, "agg-2", &both);
    let of_new = new.member(Role::Aggregator, "agg-3", &both);
    for bundle in [
        both.clone(),
        format!("{next}{former}"),
        format!("# the former\n{former}\n\n# the next one, from today on\n\n{next}\n"),
        both.replace('\n', "\r\n"),
        both.trim_end().to_owned(),
        format!("{former}{former}{next}"),
    ] {
        // It has the first block already: what differs is what stands behind, or before, that.
        let me = old.member(Role::Aggregator, "agg-1", &former);
        assert!(!meet(&me, &of_new).await && !meet(&of_new, &me).await, "before");
        state_folder::replace(&me.files().ca, bundle.as_bytes(), OPEN).unwrap();
        assert!(me.credentials.reload().unwrap(), "{bundle}");
        assert!(!me.credentials.reload().unwrap(), "once");
        for other in [&of_old, &of_new] {
            assert!(meet(&me, other).await && meet(other, &me).await, "{bundle}");
        }
        let (mut registry, count) = (crate::metrics::Registry::default(), "starling_authorities_trusted 2.0");
        let metrics = CredentialMetrics::new(&mut registry);
        me.credentials.show_trusted(&metrics);
        let text = registry.render();
        assert!(text.contains(count), "{text}");
        let ends = unix_seconds(validity(&certificates(&next).unwrap()[0]).unwrap().1);
        for one in certificates(&both).unwrap() {
            let line = format!(
                "starling_authority_expires_timestamp_seconds{{sha256=\"{}\"}} {ends:?}",
                hex::encode(&digest(&one))
            );
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
    // Without the former one: exactly those that it signed are refused, and it is shown no more.
    let me = new.member(Role::Aggregator, "agg-1", &both);
    let mut registry = crate::metrics::Registry::default();
    let metrics = CredentialMetrics::new(&mut registry);
    me.credentials.show_trusted(&metrics);
    state_folder::replace(&me.files().ca, next.as_bytes(), OPEN).unwrap();
    assert!(me.credentials.reload().unwrap());
    assert!(meet(&me, &of_new).await && meet(&of_new, &me).await);
    assert!(!meet(&me, &of_old).await && !meet(&of_old, &me).await);
    me.credentials.show_trusted(&metrics);
    let text = registry.render();
    let shown = text.lines().filter(|line| line.starts_with("starling_authority_expires_timestamp_seconds{"));
    assert_eq!(shown.count(), 1, "{text}");
}
