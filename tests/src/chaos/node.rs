//! A node of the chaos run: a real uplink in a process of its own that sends one digit a second and says what it did.

use std::{
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use starling_node::{Uplink, UplinkConfig};
use starling_proto::ids::NodeId;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Digit;

/// Arguments of the node.
#[derive(Debug, Clone, Parser)]
pub struct NodeArguments {
    /// Name of the node.
    #[arg(long)]
    pub node: String,
    /// Number of this start over all nodes.
    #[arg(long)]
    pub start: usize,
    /// Aggregators, `host:port`.
    #[arg(long, value_delimiter = ',')]
    pub seeds: Vec<String>,
}

/// What a node printed, as its reader understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It is about to cut this second.
    Cut(u32),
    /// Acknowledged, not acknowledged, lost, since its start.
    Stats { acked: u64, unacked: u64, lost: u64 },
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        match words.next()? {
            "cut" => Some(Self::Cut(words.next()?.parse().ok()?)),
            "stats" => {
                let mut number = || words.next()?.parse().ok();
                Some(Self::Stats { acked: number()?, unacked: number()?, lost: number()? })
            }
            _ => None,
        }
    }
}

/// Runs until it is ended from outside; after a SIGTERM as soon as its frames are acknowledged.
///
/// # Panics
/// When there is no digit for this start, or what it prints is not read.
pub async fn run_node(arguments: NodeArguments) {
    let digit = Digit::of(arguments.start).expect("a digit for every start");
    let config = UplinkConfig::new(NodeId::sanitised(&arguments.node), arguments.seeds);
    let stop = CancellationToken::new();
    let uplink = Uplink::spawn(config, stop.clone());
    let mut term = signal(SignalKind::terminate()).expect("signals can be caught");
    let mut stats = uplink.stats();
    say("starling-oracle-node listening ");
    let mut last = 0;
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let tick = now.as_secs() as u32;
        // Held for a while: the seconds in between were not cut.
        if tick > last && last > 0 {
            // Said first: what is in a view was said, whenever the process is killed.
            say(&format!("cut {tick}"));
            let _ = uplink.offer(digit.content(tick));
        }
        last = tick.max(last);
        let rest = Duration::from_nanos(1_000_000_000 - u64::from(now.subsec_nanos()));
        tokio::select! {
            () = tokio::time::sleep(rest / 2) => {}
            _ = term.recv() => break,
        }
        let (acked, unacked, lost) = {
            let stats = stats.borrow_and_update();
            (stats.acked, stats.unacked, stats.lost.total())
        };
        say(&format!("stats {acked} {unacked} {lost}"));
        tokio::select! {
            () = tokio::time::sleep(rest / 2) => {}
            _ = term.recv() => break,
        }
    }
    stop.cancel();
    let last = uplink.ended().await.expect("the uplink does not panic");
    say(&format!("stats {} {} {}", last.acked, last.unacked, last.lost.total()));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the chaos run reads what its nodes print");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        assert_eq!(Line::parse("cut 17"), Some(Line::Cut(17)));
        assert_eq!(Line::parse("stats 3 2 1"), Some(Line::Stats { acked: 3, unacked: 2, lost: 1 }));
        assert_eq!(Line::parse("stats 3 2"), None);
    }
}
