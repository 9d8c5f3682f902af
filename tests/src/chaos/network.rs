//! Cut and lossy links between processes on loopback, by nftables in a network namespace of its own.
//!
//! Every process runs as a user of its own and every aggregator has an address of its own. The first packet of a
//! connection, known by its user and its destination, marks the connection with (who opened it, to whom); later
//! packets of both directions are recognised by that mark. So a connection is cut the same way however it was opened.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

/// Users of the processes: aggregators first, then nodes. Numbers that no usual user has.
const USER_FIRST: u32 = 61_000;

/// A process of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// Aggregator by number from 0.
    Aggregator(usize),
    /// Node by number from 0.
    Node(usize),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregator(i) => write!(f, "agg-{}", i + 1),
            Self::Node(i) => write!(f, "oracle-{i}"),
        }
    }
}

/// Packets from one process to another that do not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) from: Party,
    pub(super) to: Party,
    /// Of 100 packets.
    pub(super) percent: u8,
}

/// Names and numbers of the processes on the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    pub(super) aggregators: usize,
    pub(super) nodes: usize,
}

impl Network {
    /// The user a process runs as.
    pub(super) const fn user(&self, party: Party) -> u32 {
        match party {
            Party::Aggregator(i) => USER_FIRST + i as u32,
            Party::Node(i) => USER_FIRST + (self.aggregators + i) as u32,
        }
    }

    /// The address an aggregator listens on.
    pub(super) const fn address(i: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 71, 0, i as u8 + 1)
    }

    /// What a connection is marked with that `from` opened to `to`.
    const fn mark(&self, from: Party, to: usize) -> u32 {
        (self.user(from) - USER_FIRST + 1) << 8 | (to as u32 + 1)
    }

    fn parties(&self) -> impl Iterator<Item = Party> + use<> {
        (0..self.aggregators).map(Party::Aggregator).chain((0..self.nodes).map(Party::Node))
    }

    /// The table that marks connections, without faults.
    fn table(&self) -> String {
        let mut pairs = Vec::new();
        for from in self.parties() {
            for to in (0..self.aggregators).filter(|&to| from != Party::Aggregator(to)) {
                pairs.push(format!("{} . {} : {:#x}", self.user(from), Self::address(to), self.mark(from, to)));
            }
        }
        format!(
            "table ip chaos {{
              map who {{ typeof meta skuid . ip daddr : ct mark; elements = {{ {} }} }}
              chain marking {{ type filter hook output priority -150; ct state new ct mark set meta skuid . ip daddr map @who; }}
              chain faults {{ type filter hook output priority 0; }}
            }}",
            pairs.join(", ")
        )
    }

    /// The rules of `cuts`, in place of those before.
    fn rules(&self, cuts: &[Cut]) -> String {
        let mut rules = "flush chain ip chaos faults\n".to_owned();
        for cut in cuts {
            let share = match cut.percent {
                100.. => String::new(),
                percent => format!("numgen random mod 100 < {percent} "),
            };
            // What `from` sends is the original direction of what it opened, the reply direction of what it took.
            for (opened_by, taken_by, direction) in [(cut.from, cut.to, "original"), (cut.to, cut.from, "reply")] {
                if let Party::Aggregator(i) = taken_by {
                    let mark = self.mark(opened_by, i);
                    let _ = writeln!(
                        rules,
                        "add rule ip chaos faults ct mark {mark:#x} ct direction {direction} {share}drop"
                    );
                }
            }
        }
        rules
    }

    /// Lays the table.
    pub(super) fn lay(&self) -> Result<(), String> {
        run(Command::new("ip").args(["link", "set", "lo", "up"]), "")?;
        run(Command::new("nft").args(["-f", "-"]), &self.table())
    }

    /// Puts these cuts in place of those before.
    pub(super) fn set(&self, cuts: &[Cut]) -> Result<(), String> {
        run(Command::new("nft").args(["-f", "-"]), &self.rules(cuts))
    }
}

/// Whether this process could give a child a network namespace of its own and rule over its packets.
///
/// # Errors
/// What is missing, in words.
pub fn available() -> Result<(), String> {
    if !rustix::process::getuid().is_root() {
        return Err("only root can cut links between processes".into());
    }
    let probe = "ip link set lo up && nft add table ip probe";
    run(Command::new("unshare").args(["--net", "sh", "-c", probe]), "")
}

fn run(command: &mut Command, input: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("{name}: {error}");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_stops_one_direction_of_both_kinds_of_connection() {
        let network = Network { aggregators: 2, nodes: 1 };
        let (a, b) = (Party::Aggregator(0), Party::Aggregator(1));
        let rules = network.rules(&[Cut { from: a, to: b, percent: 100 }]);
        assert!(rules.contains("ct mark 0x102 ct direction original drop"), "{rules}");
        assert!(rules.contains("ct mark 0x201 ct direction reply drop"), "{rules}");
        // Nodes take no connections.
        let rules = network.rules(&[Cut { from: a, to: Party::Node(0), percent: 20 }]);
        assert_eq!(rules.lines().count(), 2, "{rules}");
        assert!(rules.contains("ct mark 0x301 ct direction reply numgen random mod 100 < 20 drop"), "{rules}");
        assert!(network.table().contains("61002 . 127.71.0.2 : 0x302"), "{}", network.table());
    }
}
