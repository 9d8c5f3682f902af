//! A process that is out of file descriptors waits; it does not spin.

use std::{net::SocketAddr, time::Duration};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use starling_service::listen::{self, Connections};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// Descriptors beyond those that are open: fewer than the clients below need.
const SPARE: u64 = 40;
const CLIENTS: usize = 60;

fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

// In a process of its own: the limit is that of the process.
#[tokio::test]
async fn at_the_limit_of_descriptors_the_accept_loop_costs_next_to_nothing() {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (listener, address) = listen::tcp(local, "listen").expect("a free port");
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs").count() as u64;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + SPARE), ..before }).expect("a lower limit");

    // Client and server share the limit: clients take all of it before anybody is accepted.
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        match TcpStream::connect(address).await {
            Ok(client) => clients.push(client),
            Err(_) => break,
        }
    }
    assert!(clients.len() < CLIENTS, "the limit was not reached");
    let mut connections = Connections::of(listener);
    let (used, pause) = (processor_time(), Duration::from_secs(2));
    assert!(tokio::time::timeout(pause, connections.next()).await.is_err(), "no descriptor is left");
    let used = processor_time().saturating_sub(used);
    assert!(used < pause / 10, "{used:?} of processor time in {pause:?}");

    // With room again it goes on: who says something is taken.
    clients[0].write_all(b"GET").await.expect("it is connected");
    setrlimit(Resource::Nofile, before).expect("the limit of before");
    let accepted = tokio::time::timeout(Duration::from_secs(10), connections.next()).await;
    accepted.expect("connections are taken again");
}
