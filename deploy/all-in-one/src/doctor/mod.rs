//! `starling doctor`: looks at this host and at the cluster, and says of each thing that is wrong what to do.
//!
//! - [`installed`]: which programs have settings here, and what those want;
//! - [`look`]: facts, gathered from files and the network; what may not answer (names, addresses, disks) within 5 s;
//! - [`judge`]: findings out of facts, pure;
//! - [`finding`]: how they are said.
//!
//! One more check: its facts in [`facts`], what gathers them in `look`, what judges them in `judge`, a line in [`examine`].

mod facts;
mod finding;
mod installed;
mod judge;
mod look;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use starling_proto::address::{host_port, is_loopback_host};
use starling_service::credentials::Security;
use tokio::time::timeout;

use crate::asked::operator;

use self::{
    facts::{Dialled, Host},
    finding::{Finding, Level, Report},
    installed::{Installed, Kind, Wanted},
};

/// At least one fault.
const FOUND: u8 = 1;
/// Files of this host may be on a filesystem that does not answer.
const FILES_WITHIN: Duration = Duration::from_secs(5);
/// How long what does not answer may hold up the end.
const GRACE: Duration = Duration::from_millis(100);
/// Most aggregators that are dialled beside those in the settings: more than any cluster has.
const LEARNT_MAX: usize = 64;

/// Looks at this host and at the cluster, and says of each thing that is wrong what to do. Changes nothing.
///
/// A line a check: ok, warning or fault, what was looked at, what was found, and after "->" what to do. Run it as root: keys can
/// be read by their services only.
///
/// The pages that it names are in /usr/share/doc/starling, and in the repository.
///
/// Exit codes: 0 no fault, though perhaps warnings; 1 at least one fault; 2 flags that are not understood.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Settings file of a program: node=FILE, aggregator=FILE, dashboard=FILE, or a FILE named so. May be repeated. Default: those
    /// in /etc/starling, with the variables that the units read
    #[arg(long = "config", value_name = "PROGRAM=FILE", value_parser = installed::parse_named)]
    configs: Vec<(Kind, PathBuf)>,
    /// A further aggregator to dial, by its gRPC address. May be repeated
    #[arg(long = "aggregator", value_name = "HOST:PORT")]
    aggregators: Vec<String>,
    /// Folder of an operator's certificate.pem, key.pem and ca.pem: asks what a node may not
    #[arg(long, value_name = "FOLDER", env = "STARLING_TLS")]
    tls: Option<PathBuf>,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    /// Does it; the exit code.
    pub(crate) fn run(self) -> u8 {
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("starling doctor: {error}");
                return FOUND;
            }
        };
        let report = Report(runtime.block_on(examine(&self)));
        runtime.shutdown_timeout(GRACE);
        match self.json {
            true => println!("{:#}", report.json()),
            false => print!("{}", report.text()),
        }
        if report.count(Level::Fault) > 0 { FOUND } else { 0 }
    }
}

/// Somebody in whose name aggregators are dialled.
struct Caller {
    name: String,
    security: Security,
    addresses: Vec<String>,
}

/// All checks, in the order in which they are read.
async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let programs = installed::read(&args.configs);
    let mut findings: Vec<Finding> = programs.iter().flat_map(judge::settings).collect();
    if programs.is_empty() {
        let what = format!("no settings file of a program in {}", installed::FOLDER);
        let next = "install a package here (docs/operations/install.md), or name files by --config";
        findings.push(Finding::warning("settings", "this host", what, next));
    }
    let valid: Vec<(Kind, &Wanted)> = programs.iter().filter_map(Installed::valid).collect();

    let mut callers = Vec::new();
    let now = SystemTime::now();
    for &(kind, wanted) in &valid {
        let found = look::certificate(kind, wanted);
        findings.extend(found.iter().flat_map(|(facts, _)| judge::certificate(facts, now)));
        let security = match found {
            None => Some(Security::plain()),
            Some((_, security)) => security,
        };
        // Nobody is dialled with a certificate that is not taken: it was said above.
        callers.extend(security.map(|security| Caller {
            name: kind.program().to_owned(),
            security,
            addresses: wanted.aggregators.clone(),
        }));
    }
    findings.extend(guests(args, &mut callers));

    let names: BTreeSet<&String> = valid
        .iter()
        .flat_map(|(_, wanted)| wanted.aggregators.iter().chain(&wanted.seeds))
        .chain(&args.aggregators)
        .collect();
    let names = names.into_iter().filter(|text| is_name(text)).cloned().map(look::resolve);
    let said = valid.iter().map(|&(kind, wanted)| look::said(kind, wanted.admin));
    let wanted = valid.iter().map(|&(kind, wanted)| (kind, wanted.clone())).collect();
    let (names, said, (dialled, learnt), (local, host)) =
        tokio::join!(join_all(names), join_all(said), dial_all(callers), this_host(wanted));

    findings.extend(names.iter().map(judge::name));
    findings.extend(local);
    findings.extend(said.iter().flat_map(|facts| judge::said(facts, env!("CARGO_PKG_VERSION"))));
    let dialled: Vec<Dialled> = dialled.into_iter().chain(learnt).collect();
    findings.extend(judge::cluster(&dialled));
    findings.extend(host.map(|facts| judge::host(&facts)).unwrap_or_default());
    findings
}

/// Who dials because the flags say so.
fn guests(args: &DoctorArgs, callers: &mut Vec<Caller>) -> Option<Finding> {
    let known: Vec<String> = callers.iter().flat_map(|caller| &caller.addresses).cloned().collect();
    if let Some(folder) = &args.tls {
        return match operator(folder) {
            Ok(security) => {
                let addresses = known.into_iter().chain(args.aggregators.clone()).collect();
                callers.push(Caller { name: "operator".to_owned(), security, addresses });
                None
            }
            Err(error) => {
                let next = "starling ca issue operator NAME, and name that folder";
                Some(Finding::fault("certificate", "operator", error, next))
            }
        };
    }
    match callers.first_mut() {
        Some(caller) => caller.addresses.extend(args.aggregators.clone()),
        None if args.aggregators.is_empty() => {}
        None => callers.push(Caller {
            name: "nobody, in plain text".to_owned(),
            security: Security::plain(),
            addresses: args.aggregators.clone(),
        }),
    }
    None
}

fn is_name(text: &str) -> bool {
    host_port(text).is_ok_and(|(host, _)| {
        !is_loopback_host(host) && host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
    })
}

/// Dials everybody who is known, then those whom they named.
async fn dial_all(callers: Vec<Caller>) -> (Vec<Dialled>, Vec<Dialled>) {
    let known = callers.iter().flat_map(|caller| {
        let addresses: BTreeSet<&String> = caller.addresses.iter().collect();
        addresses.into_iter().map(|address| look::dial(caller.name.clone(), caller.security.clone(), address.clone()))
    });
    let known = join_all(known).await;
    let mut done: BTreeSet<&str> = known.iter().map(|one| one.address.as_str()).collect();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let lists = |one: &'_ Dialled| one.answer.as_ref().ok().and_then(|answer| answer.cluster.clone());
    let all: Vec<_> = known.iter().filter_map(|one| Some((one, lists(one)?))).collect();
    names.extend(all.iter().map(|(_, list)| list.answered_by.as_str()));
    let mut learnt = Vec::new();
    for (by, list) in &all {
        let Some(caller) = callers.iter().find(|caller| caller.name == by.by) else { continue };
        for member in &list.aggregators {
            // One that answered under another address, such as a name, is not dialled twice.
            let is_new = !names.contains(member.aggregator_id.as_str()) && done.insert(member.grpc_address.as_str());
            if is_new && judge::is_there(member) && learnt.len() < LEARNT_MAX {
                learnt.push(look::dial(caller.name.clone(), caller.security.clone(), member.grpc_address.clone()));
            }
        }
    }
    let learnt = join_all(learnt).await;
    drop(all);
    (known, learnt)
}

/// What this host is asked without the network, and what of it needs no facts beyond the settings. `None`: it did not answer.
async fn this_host(wanted: Vec<(Kind, Wanted)>) -> (Vec<Finding>, Option<Host>) {
    let files = tokio::task::spawn_blocking(move || {
        let running = look::Running::read();
        let addresses = look::addresses();
        let mut findings = Vec::new();
        let mut disks = Vec::new();
        for (kind, wanted) in &wanted {
            for listener in &wanted.listeners {
                findings.push(judge::port(&look::port(*kind, listener, &running), running.has(*kind)));
                findings.extend(judge::address(kind.program(), listener, wanted, &addresses));
            }
            disks.extend(wanted.state.clone().map(|(folder, bytes)| look::disk(*kind, folder, bytes)));
        }
        let synchronised = look::synchronised();
        (findings, Host { synchronised, disks, processes: running.processes, units: Vec::new() })
    });
    let (files, units) = tokio::join!(timeout(FILES_WITHIN, files), join_all(Kind::ALL.map(look::unit)));
    match files {
        Ok(Ok((findings, host))) => (findings, Some(Host { units: units.into_iter().flatten().collect(), ..host })),
        _ => {
            let what = format!("files of this host did not answer within {} s", FILES_WITHIN.as_secs());
            let next = "a filesystem hangs: cat /proc/self/mountinfo, and dmesg";
            (vec![Finding::fault("disk", "this host", what, next)], None)
        }
    }
}
