use super::*;

use std::ffi::OsString;

use tokio::net::UnixDatagram as Manager;

/// Far above what anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A manager at a path of its own, and the way to it.
fn manager(watchdog: Option<&str>) -> (tempfile::TempDir, Manager, ServiceManager) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::bind(&path).unwrap();
    let way = ServiceManager::at(path.as_os_str(), watchdog).unwrap();
    (folder, manager, way)
}

async fn heard(manager: &Manager) -> String {
    let mut buffer = [0; 4096];
    let length = tokio::time::timeout(LIMIT, manager.recv(&mut buffer)).await.expect("a message").unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_manager_hears_how_a_program_is_from_its_start_to_its_stop() {
    let (_folder, manager, way) = manager(None);
    let (sender, ready) = watch::channel(Readiness::NotReady("no aggregator\nis reached".to_owned()));
    let shutdown = CancellationToken::new();
    let reports = way.working(ready, shutdown.clone());
    assert_eq!(heard(&manager).await, "READY=1\nSTATUS=not ready: no aggregator is reached");
    sender.send_replace(Readiness::Ready);
    assert_eq!(heard(&manager).await, "STATUS=ready");
    sender.send_replace(Readiness::Impaired("x".repeat(1000)));
    assert_eq!(heard(&manager).await.chars().count(), "STATUS=".len() + STATUS_MAX);
    shutdown.cancel();
    assert_eq!(heard(&manager).await, "STOPPING=1\nSTATUS=stopping");
    drop(reports);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_alive_only_as_long_as_no_part_holds_its_thread() {
    let (_folder, manager, way) = manager(Some("200000"));
    let (_sender, ready) = watch::channel(Readiness::Ready);
    let _reports = way.working(ready, CancellationToken::new());
    assert_eq!(heard(&manager).await, "READY=1\nSTATUS=ready");
    let begun = Instant::now();
    for _ in 0..4 {
        assert_eq!(heard(&manager).await, "WATCHDOG=1");
    }
    // One at once and one every 100 ms, whatever period is usual elsewhere.
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());

    let (go_on, block) = std::sync::mpsc::channel::<()>();
    let mut parts = parts::Parts::default();
    parts.start("sampler of a test", |stop| async move {
        let _ = block.recv();
        stop.cancelled().await;
        Ok(())
    });
    let stuck = async {
        while !heard(&manager).await.starts_with("STATUS=stuck for more than 0.1 s: the sampler of a test") {}
    };
    tokio::time::timeout(LIMIT, stuck).await.unwrap();
    drop(go_on);
    let alive = async { while heard(&manager).await != "WATCHDOG=1" {} };
    tokio::time::timeout(LIMIT, alive).await.unwrap();
    parts.stop("sampler of a test", LIMIT).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_goes_on_gets_more_time_and_one_that_hangs_does_not() {
    let (_folder, manager, way) = manager(None);
    let starting = way.starting();
    let file = tempfile::NamedTempFile::new().unwrap();
    tokio::task::yield_now().await;
    std::fs::write(file.path(), vec![0; 2_000_000]).unwrap();
    tokio::time::advance(START_EVERY).await;
    let message = heard(&manager).await;
    let (extension, status) = message.split_once('\n').unwrap();
    assert_eq!(extension, "EXTEND_TIMEOUT_USEC=30000000");
    assert!(status.starts_with("STATUS=starting for 3 s, ") && status.ends_with(" MB read and written"), "{status}");
    drop(starting);
    let now = Effort { work: Duration::from_secs(1), bytes: 1_000_000 };
    assert!(!now.goes_on_since(now), "nothing was done");
    assert!(!Effort { bytes: 1_000_400, ..now }.goes_on_since(now), "it only looked");
    assert!(Effort { bytes: 2_000_000, ..now }.goes_on_since(now));
    assert!(Effort { work: Duration::from_secs(2), ..now }.goes_on_since(now));
}

#[tokio::test]
async fn abstract_names_are_heard_and_odd_ones_are_refused() {
    let name = format!("starling-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_nonblocking(true).unwrap();
    let manager = Manager::from_std(manager).unwrap();
    let way = ServiceManager::at(OsString::from(format!("@{name}")).as_os_str(), Some("0")).unwrap();
    way.0.as_ref().unwrap().say("READY=1");
    assert_eq!(heard(&manager).await, "READY=1");
    assert!(way.0.unwrap().watchdog.is_none());
    for (address, watchdog) in [("run/notify", None), ("vsock:2:1234", None), ("/run/notify", Some("soon"))] {
        assert!(ServiceManager::at(OsStr::new(address), watchdog).is_err(), "{address}");
    }
    assert!(ServiceManager::default().starting().is_none(), "nobody listens");
}
