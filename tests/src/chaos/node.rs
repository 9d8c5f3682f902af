//! A node of the chaos run: real streams in a process of its own that send one digit a second and say what they did.
//!
//! When to cut, and when a set clock begins a new stream, are the rules of the daemon ([`Schedule`], [`Streams`]).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use starling_node::{Reading, Schedule, Streams, Turn, UplinkConfig, UplinkStats};
use starling_proto::ids::{Machine, NodeId};
use starling_service::clock;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Digit;

/// How often it looks at its clock file and says what became of its frames.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of the node.
#[derive(Debug, Clone, Parser)]
pub struct NodeArguments {
    /// Name of the node.
    #[arg(long)]
    pub node: String,
    /// Number of the machine it is on.
    #[arg(long)]
    pub machine: u8,
    /// Number of this start over all nodes, and the number of its digit.
    #[arg(long)]
    pub start: Start,
    /// Aggregators, `host:port`.
    #[arg(long, value_delimiter = ',')]
    pub seeds: Vec<String>,
    /// Holds how far its clock is ahead and the start that begins with that, when somebody set it.
    #[arg(long)]
    pub clock: PathBuf,
}

/// One stream of a node: its number over all nodes, and the digit that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Over all nodes.
    pub number: usize,
    /// What it sends.
    pub digit: Digit,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.digit.number())
    }
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (number, digit) = text.split_once(':')?;
            Some(Self { number: number.parse().ok()?, digit: Digit::of(digit.parse().ok()?)? })
        };
        parsed().ok_or_else(|| format!("{text:?} is no start: wanted is NUMBER:DIGIT"))
    }
}

/// What the clock file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far the clock is ahead.
    pub(super) ahead_ms: i64,
    /// The stream that begins when it is set.
    pub(super) start: Start,
}

impl Clock {
    /// Writes it in one step: nobody reads half of it.
    pub(super) fn write(self, path: &Path) -> std::io::Result<()> {
        let beside = path.with_extension("new");
        std::fs::write(&beside, format!("{} {}", self.ahead_ms, self.start))?;
        std::fs::rename(beside, path)
    }

    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (ahead_ms, start) = text.split_once(' ')?;
        Some(Self { ahead_ms: ahead_ms.parse().ok()?, start: start.parse().ok()? })
    }
}

/// What a node printed, as its reader understands it. Each line begins with the number of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It is about to cut this second.
    Cut(u32),
    /// Acknowledged, not acknowledged, lost, since its start; whether it has ended.
    Stats { acked: u64, unacked: u64, lost: u64, ended: bool },
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<(usize, Self)> {
        let mut words = line.split(' ');
        let start = words.next()?.parse().ok()?;
        let what = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let line = match what {
            "cut" => Self::Cut(u32::try_from(number()?).ok()?),
            "stats" => {
                let (acked, unacked, lost) = (number()?, number()?, number()?);
                Self::Stats { acked, unacked, lost, ended: number()? == 1 }
            }
            _ => return None,
        };
        Some((start, line))
    }
}

/// The streams whose counts are still of interest.
struct Counts(Vec<(Start, watch::Receiver<UplinkStats>)>);

impl Counts {
    /// Says all of them; forgets those that ended and said so.
    fn say(&mut self) {
        self.0.retain_mut(|(start, stats)| {
            let stats = stats.borrow_and_update();
            let (acked, unacked, lost, ended) = (stats.acked, stats.unacked, stats.lost.total(), stats.ended);
            say(&format!("{} stats {acked} {unacked} {lost} {}", start.number, u8::from(ended)));
            !ended
        });
    }
}

/// Runs until it is ended from outside; after a SIGTERM as soon as its frames are acknowledged.
///
/// # Panics
/// When what it prints is not read.
pub async fn run_node(arguments: NodeArguments) {
    let mut config = UplinkConfig::new(NodeId::sanitised(&arguments.node), arguments.seeds);
    config.machine = Machine { id: Some([arguments.machine; 16]), boot: Some([arguments.machine; 16]) };
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let mut streams = Streams::new(config, tracker.clone(), stop.clone());
    let mut start = arguments.start;
    let mut counts = Counts(vec![(start, streams.current().stats())]);
    let mut term = signal(SignalKind::terminate()).expect("signals can be caught");
    say("starling-oracle-node listening ");
    let (mut schedule, since, mut first, mut set) = (Schedule::default(), Instant::now(), true, None);
    loop {
        let now = clock::unix();
        tokio::select! {
            () = tokio::time::sleep(Schedule::wait(Reading { wall: now, monotonic: since.elapsed() }).min(LOOK)) => {}
            _ = term.recv() => break,
        }
        let is = Clock::read(&arguments.clock);
        if let Some(clock) = is.filter(|_| is != set) {
            clock::set_wrong_for_test(clock.ahead_ms);
        }
        if let Turn::Cut(cut) = schedule.turn(Reading { wall: clock::unix(), monotonic: since.elapsed() }) {
            if cut.stepped {
                streams.begin();
                // The host's own clock may step as well; then the digit stays.
                start = is.filter(|_| is != set).map_or(start, |clock| clock.start);
                counts.0.push((start, streams.current().stats()));
            }
            // The second in which it begins is another start's.
            if !std::mem::take(&mut first) {
                // Said first: what is in a view was said, whenever the process is killed.
                say(&format!("{} cut {}", start.number, cut.tick));
                let _ = streams.current().offer(start.digit.content(cut.tick));
            }
        }
        set = is;
        counts.say();
    }
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    counts.say();
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
        assert_eq!(Line::parse("4 cut 17"), Some((4, Line::Cut(17))));
        let stats = Line::Stats { acked: 3, unacked: 2, lost: 1, ended: true };
        assert_eq!(Line::parse("0 stats 3 2 1 1"), Some((0, stats)));
        assert_eq!(Line::parse("0 stats 3 2 1"), None);
    }

    #[test]
    fn a_clock_is_read_as_it_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let start = Start { number: 217, digit: Digit::of(17).unwrap() };
        let clock = Clock { ahead_ms: -5_000, start };
        assert_eq!(Clock::read(&path), None);
        clock.write(&path).unwrap();
        assert_eq!(Clock::read(&path), Some(clock));
        assert!("217".parse::<Start>().is_err() && "1:1000".parse::<Start>().is_err());
    }
}
