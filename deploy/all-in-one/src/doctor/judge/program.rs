//! Settings of programs, what they listen on, what they dial, and what they say of themselves.

use std::{net::IpAddr, time::Duration};

use starling_proto::address::{host_port, is_loopback_host};

use crate::doctor::{
    facts::{Holder, Name, Port, Said},
    finding::Finding,
    installed::{Installed, Listener, Transport, Wanted},
};

/// A name that takes longer holds up every reconnection.
const NAME_SLOW: Duration = Duration::from_secs(1);
/// All programs in one process.
const ALL_IN_ONE: &str = "starling";

/// The settings file of a program.
pub(crate) fn settings(program: &Installed) -> Vec<Finding> {
    let subject = program.file.display().to_string();
    match &program.settings {
        Err(mistakes) => mistakes
            .iter()
            .map(|mistake| {
                let next = format!("mend it, then: {} --config {subject} --check-config", program.kind.program());
                Finding::fault("settings", &subject, mistake.as_str(), next)
            })
            .collect(),
        Ok(wanted) => {
            let mut findings = vec![Finding::ok("settings", &subject, "valid")];
            if wanted.insecure {
                findings.push(Finding::warning(
                    "settings",
                    &subject,
                    "insecure = true: plain text beyond this host, and whoever is there is believed",
                    "set tls.certificate, tls.key and tls.ca, and take the line out (docs/operations/security.md)",
                ));
            }
            findings
        }
    }
}

/// An address that a program wants for itself.
pub(crate) fn port(facts: &Port, runs: bool) -> Finding {
    let Port { kind, key, address, holder } = facts;
    let subject = format!("{} {key} {address}", kind.program());
    match holder {
        Holder::Nobody if runs => Finding::warning(
            "port",
            subject,
            format!("nobody listens there, though {} runs", kind.program()),
            format!("it runs with other settings: systemctl restart {}, or see systemctl cat {0}", kind.program()),
        ),
        Holder::Nobody => Finding::ok("port", subject, "free"),
        Holder::Process(name, _) if name == kind.program() || name == ALL_IN_ONE => {
            Finding::ok("port", subject, format!("held by {name}"))
        }
        Holder::Process(name, pid) => Finding::fault(
            "port",
            subject,
            format!("is taken by {name} (process {pid})"),
            format!("stop it, or set another {key}"),
        ),
        Holder::Unseen if runs => Finding::ok("port", subject, "somebody listens there; run this as root to see who"),
        Holder::Unseen => Finding::warning(
            "port",
            subject,
            format!("is taken, and {} does not run", kind.program()),
            "run this as root to see by whom",
        ),
        Holder::Refused(error) => {
            Finding::fault("port", subject, format!("cannot be had: {error}"), format!("set another {key}"))
        }
    }
}

/// Where members are to reach a listener of this host, given the addresses it has.
pub(crate) fn address(program: &str, listener: &Listener, wanted: &Wanted, addresses: &[IpAddr]) -> Option<Finding> {
    if !listener.for_members {
        return None;
    }
    let Listener { key, address, advertise, .. } = listener;
    let subject = format!("{program} {key} {address}");
    let far = |text: &&String| host_port(text).is_ok_and(|(host, _)| !is_loopback_host(host));
    let shown = advertise.clone().unwrap_or_else(|| address.to_string());
    if let Some(seed) = wanted.seeds.iter().find(far)
        && host_port(&shown).is_ok_and(|(host, _)| is_loopback_host(host))
    {
        return Some(Finding::fault(
            "address",
            subject,
            format!("others are told {shown}, which is this host's loopback, while the seed {seed} is on another host"),
            format!("set {key} to the address by which the other aggregators reach this host"),
        ));
    }
    if listener.transport == Transport::Udp
        && address.ip().is_unspecified()
        && advertise.is_none()
        && wanted.seeds.iter().any(|seed| far(&seed))
    {
        let family = |one: &&IpAddr| one.is_ipv4() == address.is_ipv4();
        let several: Vec<_> = addresses.iter().filter(family).map(ToString::to_string).collect();
        return (several.len() > 1).then(|| {
            Finding::warning(
                "address",
                subject,
                format!("listens on all of {}: an answer may leave from another one than was asked", several.join(", ")),
                "right while no firewall between aggregators minds; else set gossip_advertise, and it listens on that one alone",
            )
        });
    }
    let (host, _) = host_port(advertise.as_deref()?).ok()?;
    let host: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    let is_own = host.is_loopback() || addresses.contains(&host);
    (!is_own).then(|| {
        let have = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Finding::warning(
            "address",
            subject,
            format!("others are told {shown}, which is none of this host's addresses ({have})"),
            "right behind a translated address; else advertise one of these",
        )
    })
}

/// A name that is dialled.
pub(crate) fn name(facts: &Name) -> Finding {
    let took = facts.took.as_secs_f64();
    match &facts.found {
        Err(error) => Finding::fault(
            "name",
            &facts.text,
            error.clone(),
            format!(
                "getent ahosts {}; mend DNS or /etc/hosts",
                facts.text.rsplit_once(':').map_or("", |(host, _)| host)
            ),
        ),
        Ok(addresses) => {
            let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!("{list} in {took:.3} s");
            match facts.took > NAME_SLOW {
                true => {
                    Finding::warning("name", &facts.text, what, "a name server in /etc/resolv.conf does not answer")
                }
                false => Finding::ok("name", &facts.text, what),
            }
        }
    }
}

/// What a program of this host says of itself.
pub(crate) fn said(facts: &Said, own_version: &str) -> Vec<Finding> {
    let Said { kind, address, ready, version } = facts;
    let (program, unit) = (kind.program(), kind.program());
    let subject = format!("{program} {address}");
    let mut findings = vec![match ready {
        Err(error) => Finding::warning(
            "program",
            subject,
            format!("does not run here, or says nothing: {error}"),
            format!("systemctl status {unit}; journalctl -u {unit} -n 50"),
        ),
        Ok((200, text)) if text.starts_with("ready, but") => {
            Finding::warning("program", subject, text.clone(), "docs/operations.md, \"What /ready says\"")
        }
        Ok((200, text)) => Finding::ok("program", subject, text.clone()),
        // It has users, and no port of its own for probes.
        Ok((401, _)) => Finding::warning(
            "program",
            subject,
            "it runs, and how it is cannot be asked without signing in",
            "set admin_listen, where /ready, /live and /metrics need no log-in (docs/access.md)",
        ),
        Ok((503, text)) => Finding::fault("program", subject, text.clone(), "docs/operations.md, \"What /ready says\""),
        Ok((status, text)) => Finding::warning(
            "program",
            subject,
            format!("/ready answered {status} {text}"),
            "is something else at that address?",
        ),
    }];
    if let Some(version) = version
        && version != own_version
    {
        findings.push(Finding::warning(
            "version",
            program,
            format!("the process is {version}, this program is {own_version}"),
            format!("after an upgrade: systemctl restart {unit}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{finding::Level, installed::Kind};
    use starling_service::credentials::TlsSettings;

    fn wanted(seeds: &[&str]) -> Wanted {
        Wanted {
            tls: TlsSettings::default(),
            insecure: false,
            listeners: Vec::new(),
            admin: ([127, 0, 0, 1], 1).into(),
            aggregators: Vec::new(),
            seeds: seeds.iter().map(|&seed| seed.to_owned()).collect(),
            keyring: None,
            state: None,
        }
    }

    #[test]
    fn every_mistake_of_a_file_is_a_fault_of_its_own() {
        let file = Installed {
            kind: Kind::Node,
            file: "/e/node.toml".into(),
            settings: Err(vec!["a: 1".into(), "b: 2".into()]),
        };
        let findings = settings(&file);
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|one| one.level == Level::Fault && one.next.contains("--check-config")));
    }

    #[test]
    fn a_port_is_free_ours_or_anothers() {
        let at = |holder| Port { kind: Kind::Node, key: "otlp_listen", address: ([127, 0, 0, 1], 4317).into(), holder };
        let process = |name: &str| Holder::Process(name.into(), 7);
        for (holder, runs, level) in [
            (Holder::Nobody, false, Level::Ok),
            (Holder::Nobody, true, Level::Warning),
            (process("starling-node"), true, Level::Ok),
            (process("nginx"), false, Level::Fault),
            (Holder::Unseen, true, Level::Ok),
            (Holder::Unseen, false, Level::Warning),
            (Holder::Refused("no such address".into()), false, Level::Fault),
        ] {
            let finding = port(&at(holder.clone()), runs);
            assert_eq!(finding.level, level, "{holder:?}");
        }
    }

    #[test]
    fn what_others_are_told_must_lead_here() {
        let own: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 1, 0, 1].into()];
        let listener = |address: &str, advertise: Option<&str>| Listener {
            key: "gossip_listen",
            address: address.parse().unwrap(),
            transport: Transport::Udp,
            advertise: advertise.map(str::to_owned),
            for_members: true,
        };
        let level = |one: &Listener, seeds: &[&str]| address("p", one, &wanted(seeds), &own).map(|found| found.level);
        let seeds = ["10.0.0.2:7401"];
        assert_eq!(level(&listener("127.0.0.1:7401", None), &seeds), Some(Level::Fault), "loopback is told to others");
        assert_eq!(level(&listener("127.0.0.1:7401", None), &["127.0.0.1:7411"]), None);
        let wild = listener("0.0.0.0:7401", None);
        assert_eq!(level(&Listener { transport: Transport::Tcp, ..wild.clone() }, &seeds), None, "it finds out");
        let found = address("p", &wild, &wanted(&seeds), &own).unwrap();
        assert!(found.level == Level::Warning && found.what.contains("10.0.0.1, 10.1.0.1"), "{found}");
        assert_eq!(level(&wild, &["127.0.0.1:7411"]), None, "nobody is far");
        assert_eq!(level(&listener("[::]:7401", None), &seeds), None, "of its family there are not several");
        assert!(address("p", &wild, &wanted(&seeds), &own[..1]).is_none(), "one address is all");
        assert_eq!(level(&listener("0.0.0.0:7401", Some("10.1.0.1:7401")), &seeds), None, "it listens on that one");
        assert_eq!(level(&listener("10.0.0.1:7401", None), &seeds), None);
        assert_eq!(level(&listener("10.0.0.1:7401", Some("192.0.2.1:7401")), &seeds), Some(Level::Warning));
        assert_eq!(level(&Listener { for_members: false, ..listener("127.0.0.1:1", None) }, &seeds), None);
    }

    #[test]
    fn a_slow_name_is_said_and_one_that_is_not_found_is_a_fault() {
        let name_of = |found, took| name(&Name { text: "agg-1:7400".into(), found, took: Duration::from_millis(took) });
        assert_eq!(name_of(Ok(vec![[10, 0, 0, 1].into()]), 3).what, "10.0.0.1 in 0.003 s");
        assert_eq!(name_of(Ok(vec![[10, 0, 0, 1].into()]), 4_000).level, Level::Warning);
        let lost = name_of(Err("not found".into()), 3);
        assert!(lost.level == Level::Fault && lost.next.contains("getent ahosts agg-1"), "{lost}");
    }

    #[test]
    fn what_a_program_says_is_handed_on() {
        let facts = |ready| Said {
            kind: Kind::Aggregator,
            address: ([127, 0, 0, 1], 7402).into(),
            ready,
            version: Some("1".into()),
        };
        for (ready, level) in [
            (Ok((200, "ready".to_owned())), Level::Ok),
            (Ok((200, "ready, but: the disk".to_owned())), Level::Warning),
            (Ok((503, "not ready: catching up".to_owned())), Level::Fault),
            (Ok((401, "{}".to_owned())), Level::Warning),
            (Ok((404, String::new())), Level::Warning),
            (Err("refused".to_owned()), Level::Warning),
        ] {
            assert_eq!(said(&facts(ready.clone()), "1")[0].level, level, "{ready:?}");
        }
        assert_eq!(said(&facts(Ok((200, "ready".into()))), "2")[1].check, "version");
    }
}
