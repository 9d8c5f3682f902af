//! Every certificate of a cluster has ended and its authority is gone: what docs/operations/security.md says to do then brings
//! all of it back, with the commands that stand there and without anything that is asked of the dead cluster.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::{fs, path::Path, time::Duration};

use starling_authority::{Wish, folder};
use starling_proto::{ids::NodeId, v1};
use starling_service::{
    channel::Dial,
    credentials::{Credentials, Files, standing},
    grpc::{alerts_client::AlertsClient, query_client::QueryClient},
    identity::Role,
};
use starling_testkit::eventually;
use starling_tests::{Issuer, Program, aggregator, http_get, this_second};
use time::OffsetDateTime;
use tonic::transport::Channel;

/// Life of every certificate: long enough for all to join.
const LIFE: time::Duration = time::Duration::seconds(40);

/// What the programs are given beside their certificates.
struct Site {
    issuer: Issuer,
    first: Program,
}

impl Site {
    /// An authority, and the aggregator that signs.
    fn new() -> Self {
        let issuer = Issuer::new("test");
        issuer.issue("operator", "ann");
        let own = issuer.path("agg-1");
        issuer.run(&["issue", "aggregator", "agg-1", "--dir", &issuer.path("ca"), "--out", &own, "--signs"]);
        let signs = [
            format!("enrolment.authority={}", issuer.path("agg-1/authority")),
            format!("enrolment.life_secs={}", LIFE.whole_seconds()),
        ];
        let first = aggregator(&issuer, "agg-1", &[], &signs);
        let site = Self { issuer, first };
        site.shorten(Role::Operator, "ann");
        site.shorten(Role::Aggregator, "agg-1");
        site
    }

    /// Replaces what was issued by what ends soon.
    fn shorten(&self, role: Role, name: &str) {
        let authority = folder::open(Path::new(&self.issuer.path("ca"))).unwrap();
        let wish = Wish { role, name: NodeId::parse(name).unwrap(), life: LIFE, hosts: Vec::new() };
        let issued = authority.issue(&wish, OffsetDateTime::now_utc()).unwrap();
        folder::write_issued(Path::new(&self.issuer.path(name)), &issued, authority.certificate()).unwrap();
    }

    fn grpc(&self) -> String {
        self.first.address("grpc").to_string()
    }

    /// A host joins by a token of its own.
    async fn join(&self, role: &str, name: &str, more: &[&str]) {
        let (token, folder) = (self.issuer.path(&format!("token-{name}")), self.issuer.path(&format!("joined-{name}")));
        let _ = fs::remove_file(&token);
        let (at, tls) = (self.grpc(), self.issuer.path("ann"));
        let create = ["token", "create", "--role", role, "--out", &token, "--aggregator", &at, "--tls", &tls];
        eventually("a token", async || match Program::all_of("starling", &create) {
            (Some(0), _) => Ok(()),
            (code, said) => Err(format!("{code:?}: {said}")),
        })
        .await;
        let own = ["join", &at, "--token-file", &token, "--name", name, "--folder", &folder];
        let (code, said) = Program::run_to_end(&format!("starling-{role}"), &[&own, more].concat());
        assert_eq!(code, Some(0), "{said}");
    }

    fn folder_of(&self, name: &str) -> String {
        format!("tls.folder={}", self.issuer.path(&format!("joined-{name}")))
    }

    async fn channel(&self, at: &Program) -> Result<Channel, String> {
        let ann = self.issuer.security("ann", Role::Operator);
        Dial::within(Duration::from_secs(5)).connect(&ann, &at.address("grpc").to_string()).await
    }

    /// Nodes that had reported at `tick` (0: newest), as `at` says.
    async fn reporting(&self, at: &Program, tick: u32) -> Result<u32, String> {
        let mut query = QueryClient::new(self.channel(at).await?);
        let view = query.get_cluster(v1::GetClusterRequest { tick, ..v1::GetClusterRequest::default() }).await;
        let view = view.map_err(|status| status.to_string())?.into_inner();
        Ok(view.completeness.and_then(|all| all.nodes_reporting).unwrap_or(0))
    }

    async fn silences(&self, at: &Program) -> Result<usize, String> {
        let mut alerts = AlertsClient::new(self.channel(at).await?);
        let listed = alerts.list_silences(v1::ListSilencesRequest {}).await.map_err(|status| status.to_string())?;
        Ok(listed.into_inner().silences.len())
    }
}

async fn is_ready(program: &Program) {
    eventually("it is ready", async || match http_get(program.address("admin"), "/ready").await? {
        (200, _) => Ok(()),
        (_, said) => Err(said),
    })
    .await;
}

async fn says_that_it_ended(program: &Program) {
    eventually("its certificate ended", async || match http_get(program.address("admin"), "/ready").await? {
        (503, said) if said.contains("certificate ended at") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_which_every_certificate_has_ended_comes_back_by_its_runbook() {
    let mut site = Site::new();
    site.join("aggregator", "agg-2", &["--host", "127.0.0.1"]).await;
    let seeds = format!("seeds=[\"{}\"]", site.first.address("gossip"));
    let keyring = format!("gossip_keyring={}", site.issuer.path("agg-1/gossip.keyring"));
    let free = ["grpc_listen=127.0.0.1:0", "gossip_listen=127.0.0.1:0", "admin_listen=127.0.0.1:0"];
    let own = ["cluster=test", "state_dir={dir}/state", &seeds, &keyring, &site.folder_of("agg-2")];
    let mut second = Program::with_settings("starling-aggregator", &[&free[..], &own].concat());
    site.join("node", "web-1", &[]).await;
    let free = ["admin_listen=127.0.0.1:0", "otlp_listen=127.0.0.1:0", "otlp_http_listen=127.0.0.1:0"];
    let mut node = Program::with_settings("starling-node", &[&free[..], &[&site.folder_of("web-1")]].concat());
    let matcher = v1::AlertMatcher { key: "rule".into(), value: "node-gone".into(), ..v1::AlertMatcher::default() };
    let silence = v1::SilenceRequest {
        matchers: vec![matcher],
        author: "ann".into(),
        comment: "the move".into(),
        for_seconds: 86_400,
        ..v1::SilenceRequest::default()
    };
    eventually("a silence at both", async || {
        if site.silences(&site.first).await? == 0 {
            let mut alerts = AlertsClient::new(site.channel(&site.first).await?);
            alerts.silence(silence.clone()).await.map_err(|status| status.to_string())?;
        }
        match site.silences(&second).await? {
            1 => Ok(()),
            other => Err(format!("{other} at the second")),
        }
    })
    .await;
    let seen = this_second();
    eventually("the node at both", async || {
        for at in [&site.first, &second] {
            match (site.reporting(at, 0).await?, site.reporting(at, seen).await?) {
                (1, 1) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        Ok(())
    })
    .await;
    // Nobody signs any more, so that what renews by itself ends too.
    fs::rename(site.issuer.path("ca"), site.issuer.path("lost")).unwrap();
    fs::rename(site.issuer.path("agg-1/authority"), site.issuer.path("lost/authority")).unwrap();
    let began = std::time::Instant::now();
    assert_eq!(site.first.stop().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "nothing holds a stop up: {:?}", began.elapsed());
    assert!(!site.first.log().contains("ended by force"), "{}", site.first.log());
    for (program, file) in [(&second, "joined-agg-2"), (&node, "joined-web-1")] {
        says_that_it_ended(program).await;
        let all = standing(Path::new(&site.issuer.path(&format!("{file}/certificate.pem")))).unwrap();
        assert!(all[0].until < std::time::SystemTime::now(), "{file}: {all:?}");
    }
    // A second of the clock is not over when its first moment is.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let files = Files::of_folder(Path::new(&site.issuer.path("ann")));
    assert!(Credentials::load(files, None, Role::Operator, false).is_err(), "the operator has nothing to ask by");

    // 1. and 2., on the host of the authority and on agg-1.
    let began = std::time::Instant::now();
    let path = |name: &str| site.issuer.path(name);
    let new = path("new-ca");
    site.issuer.run(&["init", "--cluster", "test", "--dir", &new]);
    site.issuer.run(&["issue", "aggregator", "agg-1", "--dir", &new, "--out", &path("agg-1"), "--signs"]);
    site.issuer.run(&["issue", "operator", "ann", "--dir", &new, "--out", &path("ann")]);
    site.first.start_again();
    // 3., on every other host, aggregators first.
    second.stop().await;
    site.join("aggregator", "agg-2", &["--host", "127.0.0.1", "--replace"]).await;
    second.start_again();
    node.stop().await;
    site.join("node", "web-1", &["--replace"]).await;
    node.start_again();

    for program in [&site.first, &second, &node] {
        is_ready(program).await;
    }
    eventually("the node reports, at both", async || {
        match (site.reporting(&site.first, 0).await?, site.reporting(&second, 0).await?) {
            (1, 1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    println!("back after {:?}", began.elapsed());
    for at in [&site.first, &second] {
        assert_eq!(site.reporting(at, seen).await, Ok(1), "what there was before is still there");
        assert_eq!(site.silences(at).await, Ok(1));
    }
}
