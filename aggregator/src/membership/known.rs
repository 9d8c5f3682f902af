//! Where the others gossiped, written down: an aggregator that starts again looks for them there, whatever its seeds say. The
//! first one of a cluster has none, and those of one that joined are as old as its certificate; without this it would be
//! ready at once and acknowledge alone, until the others find it.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use starling_service::{clock, state_folder};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{Listed, MembershipView, State};

/// Name of the file in the state folder.
const FILE: &str = "members";
/// First line: the form of the others, "address last", the last in Unix seconds.
const HEAD: &str = "starling members 1";
/// Addresses that are kept, those that were seen last.
const MEMBERS_MAX: usize = 64;
/// Longest file that is read: so many lines of an IPv6 address and a number, and the head.
const BYTES_MAX: u64 = 4_096 + 64;
/// So many seconds after it was seen last nobody is looked for at an address.
const KEPT: u64 = 86_400;
/// The time of one that stays alive is written this often, in seconds.
const REFRESHED_EVERY: u64 = 3_600;
/// Between two looks at a view that changed: it does so every two seconds, by what others report of themselves.
const SPACED: Duration = Duration::from_secs(1);

/// Addresses with the second in which they were seen last.
type Known = BTreeMap<SocketAddr, u64>;

/// What is written down, and where.
pub(super) struct Remembered {
    path: PathBuf,
    known: Known,
}

impl Remembered {
    /// What was written down when this aggregator ran last; what cannot be read is reported, and is nobody.
    pub(super) fn read(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let known = load(&path).unwrap_or_else(|error| {
            warn!(file = %path.display(), %error, "the members of last time are not known");
            Known::new()
        });
        Self { path, known }
    }

    /// The addresses at which others are looked for.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        next(&self.known, &[], clock::unix().as_secs()).into_keys().collect()
    }

    /// Writes down who is there, until the view ends.
    pub(super) fn follow(self, mut view: watch::Receiver<Arc<MembershipView>>, tasks: &TaskTracker) {
        let Self { path, mut known } = self;
        tasks.spawn(async move {
            let mut failed = false;
            loop {
                let after = {
                    let view = view.borrow_and_update();
                    let others: Vec<&Listed> =
                        view.listed.iter().filter(|listed| listed.member.id != view.me.id).collect();
                    next(&known, &others, clock::unix().as_secs())
                };
                if after != known {
                    let (to, text) = (path.clone(), text(&after));
                    let write = move || state_folder::replace(&to, text.as_bytes(), state_folder::OPEN);
                    let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other).flatten();
                    // Once until it works again: a disk that is full stays so for a while.
                    if let Err(error) = &written
                        && !failed
                    {
                        warn!(file = %path.display(), %error, "the members are not written down");
                    }
                    failed = written.is_err();
                    if !failed {
                        known = after;
                    }
                }
                sleep(SPACED).await;
                if view.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

/// What is known after `others` were seen.
fn next(known: &Known, others: &[&Listed], now: u64) -> Known {
    let mut known = known.clone();
    for other in others {
        let address = other.member.gossip;
        if other.member.state == State::Leaving {
            known.remove(&address);
        } else if !other.dead {
            let last = known.entry(address).or_insert(now);
            if now.abs_diff(*last) >= REFRESHED_EVERY {
                *last = now;
            }
        }
    }
    known.retain(|_, last| now.saturating_sub(*last) < KEPT);
    while known.len() > MEMBERS_MAX
        && let Some(oldest) = known.iter().min_by_key(|(_, last)| **last).map(|(address, _)| *address)
    {
        known.remove(&oldest);
    }
    known
}

fn text(known: &Known) -> String {
    known.iter().fold(format!("{HEAD}\n"), |text, (address, last)| text + &format!("{address} {last}\n"))
}

fn load(path: &Path) -> io::Result<Known> {
    state_folder::lines(path, HEAD, BYTES_MAX, |line| {
        let entry = line.split_once(' ').and_then(|(address, last)| Some((address.parse().ok()?, last.parse().ok()?)));
        entry.ok_or_else(|| format!("{line:?} is no address with a time"))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;
    use crate::membership::Member;

    fn listed(port: u16, state: State, dead: bool) -> Listed {
        let gossip = SocketAddr::from(([10, 0, 0, 1], port));
        let member = Member { gossip, ..Member::for_test(&format!("agg-{port}"), state) };
        Listed { member, dead, since: Instant::now(), met: true }
    }

    fn ports(known: &Known) -> Vec<u16> {
        known.keys().map(SocketAddr::port).collect()
    }

    #[test]
    fn who_is_alive_is_kept_for_a_day_and_who_left_is_not() {
        let [one, two] = [1, 2].map(|port| listed(port, State::Ready, false));
        let known = next(&Known::new(), &[&one, &two], 1_000);
        assert_eq!(ports(&known), [1, 2]);
        assert_eq!(next(&known, &[&one], 2_000), known, "nothing is written for a second that passed");
        let (lost, left) = (listed(1, State::Ready, true), listed(2, State::Leaving, false));
        assert_eq!(ports(&next(&known, &[&lost, &left], 2_000)), [1]);
        assert_eq!(ports(&next(&known, &[], 1_000 + KEPT - 1)), [1, 2]);
        assert!(next(&known, &[&lost], 1_000 + KEPT).is_empty());
        assert_eq!(ports(&next(&known, &[&one], 1_000 + KEPT)), [1], "seen again");
    }

    #[test]
    fn as_many_are_kept_as_are_read_again() {
        let many: Known = (0..200_u16)
            .map(|i| {
                (
                    SocketAddr::from(([0xfe80, 1, 2, 3, 0xaaaa, 0xbbbb, 0xcccc, i], 65_535)),
                    u64::from(u32::MAX) + u64::from(i),
                )
            })
            .collect();
        let kept = next(&many, &[], u64::from(u32::MAX));
        assert_eq!(kept.len(), MEMBERS_MAX);
        assert!(kept.values().all(|last| *last >= u64::from(u32::MAX) + 136), "those that were seen last");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(load(&path).unwrap().is_empty());
        fs::write(&path, text(&kept)).unwrap();
        assert_eq!(load(&path).unwrap(), kept);
        for odd in ["", "x", &format!("{HEAD}\n10.0.0.1 7\n"), &format!("{HEAD}\n{}", "x".repeat(5_000))] {
            fs::write(&path, odd).unwrap();
            assert!(load(&path).is_err() && Remembered::read(folder.path()).addresses().is_empty(), "{odd}");
        }
    }
}
