//! Certificates, keys and authorities.

use std::time::SystemTime;

use starling_service::credentials::ends_soon;

use super::words;
use crate::doctor::{
    facts::{Certificate, Validity},
    finding::Finding,
};

const CHECK: &str = "certificate";
enum Standing {
    NotYet(u64),
    Ended(u64),
    EndsSoon(u64),
    Good(u64),
}

fn standing(validity: Validity, now: SystemTime) -> Standing {
    let seconds = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default().as_secs();
    let Validity { from, until } = validity;
    let left = until.duration_since(now).unwrap_or_default();
    match () {
        () if now < from => Standing::NotYet(seconds(now, from)),
        () if until <= now => Standing::Ended(seconds(until, now)),
        () if ends_soon(from, until, now) => Standing::EndsSoon(left.as_secs()),
        () => Standing::Good(left.as_secs()),
    }
}

/// What is to be said of the certificate of a program.
pub(crate) fn certificate(facts: &Certificate, now: SystemTime) -> Vec<Finding> {
    let file = facts.file.display();
    let subject = format!("{} {file}", facts.program);
    let mut findings = Vec::new();
    let own = facts.validity.map(|validity| standing(validity, now));
    let renew = if facts.is_joined {
        format!(
            "the daemon renews it while an aggregator answers: its log says why not; after the grace (30 days) run \
             {} join --replace with a new token",
            facts.program
        )
    } else {
        "issue it again into the same folder (`starling ca issue`, docs/operations/security.md); it is taken up within 5 \
         seconds, without a restart"
            .to_owned()
    };
    if let Some(copied) = &facts.copied {
        let next = format!("{} join --replace with a token", facts.program);
        findings.push(Finding::fault(CHECK, &subject, copied.clone(), next));
    }
    findings.push(match (own, &facts.taken) {
        (Some(Standing::NotYet(wait)), _) => Finding::fault(
            CHECK,
            &subject,
            format!("is not valid for another {} by the clock of this host", words(wait)),
            "compare this clock and that of the host where it was issued with the time: one of them is wrong",
        ),
        (Some(Standing::Ended(ago)), _) => {
            Finding::fault(CHECK, &subject, format!("ended {} ago: nobody takes it", words(ago)), renew)
        }
        (_, Err(error)) => Finding::fault(
            CHECK,
            &subject,
            error.clone(),
            "lay down certificate.pem, key.pem and ca.pem as they were issued together; run this as root to read keys",
        ),
        (Some(Standing::EndsSoon(left)), Ok(who)) => {
            Finding::warning(CHECK, &subject, format!("that of {who} ends in {}", words(left)), renew)
        }
        (Some(Standing::Good(left)), Ok(who)) => {
            Finding::ok(CHECK, &subject, format!("that of {who}, {} left", words(left)))
        }
        (None, Ok(who)) => Finding::ok(CHECK, &subject, format!("that of {who}")),
    });
    for (name, validity) in &facts.authorities {
        let subject = format!("{} authority {name}", facts.program);
        let next = "make a new authority and trust both for a while (docs/operations/security.md, \"A new authority\")";
        match standing(*validity, now) {
            Standing::NotYet(wait) => findings.push(Finding::fault(
                CHECK,
                subject,
                format!("is not valid for another {} by the clock of this host", words(wait)),
                "set the clock of this host",
            )),
            // It may be the old one of two.
            Standing::Ended(ago) => {
                findings.push(Finding::warning(CHECK, subject, format!("ended {} ago", words(ago)), next));
            }
            Standing::EndsSoon(left) => {
                findings.push(Finding::warning(CHECK, subject, format!("ends in {}", words(left)), next));
            }
            Standing::Good(_) => {}
        }
    }
    for file in &facts.unreadable {
        findings.push(Finding::fault(
            CHECK,
            format!("{} {}", facts.program, file.display()),
            format!("the user {} of the service cannot read it", facts.program),
            format!("chgrp {0} and chmod 640 the file, chmod 750 and chgrp {0} its folder", facts.program),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;
    use std::time::{Duration, UNIX_EPOCH};

    const DAY: u64 = 86_400;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn facts(from: u64, until: u64) -> Certificate {
        Certificate {
            program: "starling-node".into(),
            file: "/t/certificate.pem".into(),
            taken: Ok("node web-1".into()),
            validity: Some(Validity { from: at(from), until: at(until) }),
            is_joined: false,
            copied: None,
            authorities: vec![("ca".into(), Validity { from: at(0), until: at(3_650 * DAY) })],
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn an_end_is_spoken_of_before_it_comes() {
        for (now, level, words) in [
            (100 * DAY, Level::Ok, "265 days left"),
            (340 * DAY, Level::Warning, "ends in 25 days"),
            (366 * DAY, Level::Fault, "ended 24 h ago"),
        ] {
            let findings = certificate(&facts(0, 365 * DAY), at(now));
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].level, level);
            assert!(findings[0].what.contains(words), "{}", findings[0]);
        }
        assert_eq!(certificate(&facts(0, 7 * DAY), at(5 * DAY))[0].level, Level::Ok, "it is renewed by itself");
        assert_eq!(certificate(&facts(0, 7 * DAY), at(DAY * 13 / 2))[0].level, Level::Warning);
        let joined = Certificate { is_joined: true, ..facts(0, 7 * DAY) };
        let next = certificate(&joined, at(8 * DAY)).remove(0).next;
        assert!(next.contains("starling-node join --replace"), "{next}");
    }

    #[test]
    fn one_that_is_not_valid_yet_names_the_clocks() {
        let finding = &certificate(&Certificate { taken: Err("not valid".into()), ..facts(145, 9_999) }, at(100))[0];
        assert_eq!(finding.level, Level::Fault);
        assert!(finding.what.contains("for another 45 s") && finding.next.contains("clock"), "{finding}");
    }

    #[test]
    fn what_is_not_taken_or_not_read_is_a_fault() {
        let foreign =
            Certificate { taken: Err("none of the trusted authorities has signed it".into()), ..facts(0, DAY) };
        assert_eq!(certificate(&foreign, at(10))[0].level, Level::Fault);
        let unread = Certificate { unreadable: vec!["/t/key.pem".into()], ..facts(0, DAY) };
        let findings = certificate(&unread, at(10));
        assert!(findings[1].next.starts_with("chgrp starling-node"), "{}", findings[1]);
    }

    #[test]
    fn an_authority_that_ends_is_spoken_of() {
        let findings = certificate(&facts(3_000 * DAY, 3_630 * DAY), at(3_640 * DAY));
        assert_eq!(findings.iter().map(|one| one.level).collect::<Vec<_>>(), [Level::Fault, Level::Warning]);
        assert!(findings[1].subject.ends_with("authority ca"), "{}", findings[1]);
    }
}
