//! Clients that do not read.

use std::time::{Duration, Instant};

use starling_proto::live::{View, server_message::Body};
use tokio::net::TcpSocket;

use starling_testkit::{Script, Scripted};

use crate::harness::{LIMIT, Page, Server, now, table, view};

/// Large enough that the sockets' buffers are full after some seconds.
const NODES: usize = 1_000;
const CLIENTS: usize = 100;
/// A client is called slow when what it has not been sent is older than three seconds.
const BEHIND: Duration = Duration::from_millis(3_500);

/// A page whose kernel takes next to nothing for it.
async fn stalled_page(server: &Server) -> Page {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    Page::over(stream, server.address).await
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

async fn served() -> (Script, Scripted, Server, u32) {
    let (script, newest) = (Script::default(), now());
    script.report(view(newest, 1.0), Some(table(newest, NODES)));
    let double = Scripted::start(&script, "a1", 0).await;
    let server = Server::start(&[double.address]).await;
    server.ready().await;
    (script, double, server, newest)
}

#[tokio::test]
async fn a_slow_client_costs_no_memory_and_learns_what_it_missed() {
    let (script, _double, server, newest) = served().await;
    let mut quick = server.page().await;
    quick.subscribe(1, View::Overview, "", 0).await;
    quick.snapshot().await;
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut page = stalled_page(&server).await;
        page.subscribe(1, View::Overview, "", 0).await;
        page.subscribe(2, View::Hosts, "", 0).await;
        slow.push(page);
    }
    let before = resident_bytes();
    let started = Instant::now();
    let mut tick = newest;
    // Until everybody who is not reading is behind by time; meanwhile the quick client gets every second.
    while started.elapsed() < BEHIND {
        tick += 1;
        script.report(view(tick, 1.0), Some(table(tick, NODES)));
        let next = quick.tick().await;
        assert_eq!((next.tick, next.skipped), (tick, 0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ticks = tick - newest;
    assert!(ticks > 20, "{ticks}");
    // Queued, the tables alone would be over 30 kB a tick and client, 3 MB a tick; the script itself keeps each once.
    let grown = resident_bytes().saturating_sub(before);
    let script_bytes = u64::from(ticks) * NODES as u64 * 600;
    assert!(grown < script_bytes + 48 * 1024 * 1024, "grew by {} MiB over {ticks} ticks", grown >> 20);

    // A client that reads again sees what was left out, and then every second.
    let page = &mut slow[0];
    let skipped = loop {
        match page.next().await {
            Body::Tick(next) if next.id == 1 && next.skipped > 0 => break next,
            Body::Tick(_) | Body::Snapshot(_) | Body::Hello(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(skipped.tick, tick, "it jumped to the newest");
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_counted() {
    let (script, _double, server, newest) = served().await;
    let mut page = stalled_page(&server).await;
    page.subscribe(2, View::Hosts, "", 0).await;
    let closed = async {
        for tick in newest + 1.. {
            script.report(view(tick, 1.0), Some(table(tick, NODES)));
            let metrics =
                reqwest::get(format!("http://{}/metrics", server.address)).await.unwrap().text().await.unwrap();
            let slow = metrics
                .lines()
                .find_map(|l| l.strip_prefix("starling_dashboard_clients_closed_total{reason=\"slow\"} "));
            if let Some(count) = slow.filter(|count| *count != "0") {
                assert_eq!(count, "1", "the one client that never reads is closed once");
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(2 * LIMIT, closed).await.expect("a client that never reads is closed");
}
