use super::*;
use crate::{Rules, defaults};

const BEGIN: u32 = 1_800_057_600;

fn plan(rule: &str) -> Result<Plan, String> {
    let text = format!("[[rule]]\nname = \"r\"\nsummary = \"is so\"\nseverity = \"error\"\n{rule}");
    let rules = Rules::read(&[("test", &text)]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    Plan::of(&rules.all()[0])
}

fn steps(plan: &Plan, count: u32) -> Steps {
    Steps {
        ticks: (0..count).map(|at| BEGIN + at * plan.step).collect(),
        seconds: vec![plan.step; count as usize],
        coverage: vec![(3, 3); count as usize],
    }
}

/// Columns of a plan that reads one statistic of each of its series.
fn columns(all: &[&[f64]]) -> Columns {
    Columns { attributes: Vec::new(), values: all.iter().map(|one| vec![one.to_vec()]).collect() }
}

#[test]
fn a_longer_hold_makes_one_of_three() {
    let plan =
        plan("scope = \"cluster\"\nexpression = \"system.cpu.utilization[10s]\"\nabove = 0.9\nfor = \"10s\"").unwrap();
    assert_eq!((plan.step, plan.wanted.len()), (10, 1));
    let busy: Vec<f64> = (0..60).map(|at| if [10, 11, 14, 15, 18, 19].contains(&at) { 0.95 } else { 0.2 }).collect();
    let steps = steps(&plan, 60);
    let values = values(&plan, &steps, &columns(&[&busy]));
    let all = variants(plan.rule(), &TRIED, &TRIED);
    let lengths: Vec<(u32, u32)> = all.iter().map(|rule| (rule.hold, rule.pending)).collect();
    assert_eq!(lengths, [(0, 10), (30, 10), (120, 10), (300, 10), (0, 30), (0, 120), (0, 300)]);
    let fired: Vec<_> = all.iter().map(|rule| fired(rule, (&Subject::Cluster, &[]), &steps, &values)).collect();
    let times: Vec<usize> = fired.iter().map(Vec::len).collect();
    assert_eq!(times, [3, 1, 1, 1, 0, 0, 0]);
    let first = &fired[0][0];
    assert_eq!((first.since, first.fired, first.ended), (BEGIN + 100, BEGIN + 110, Some(BEGIN + 120)));
    assert_eq!((first.value, first.length()), (0.95, 20));
    let held = &fired[1][0];
    assert_eq!((held.crossings, held.ended), (2, Some(BEGIN + 230)), "good from 200 s on, for 30 s");
}

#[test]
fn windows_reach_over_steps_and_conditions_count() {
    let plan = plan(
        "scope = \"cluster\"\nexpression = \"traffic.errors[300s] / traffic.requests[300s]\"\nwhen = \"growth(traffic.requests[60s]) >= 50\"\nabove = 0.1",
    )
    .unwrap();
    assert_eq!(plan.step, 60);
    let wanted: Vec<_> = plan.wanted.iter().map(|one| (one.name.as_str(), one.statistics.as_slice())).collect();
    let value = ["value".to_owned()];
    assert_eq!(wanted, [("traffic.errors", value.as_slice()), ("traffic.requests", value.as_slice())]);
    let requests = [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 0.5];
    let errors = [0.0, 0.0, 0.0, 0.0, 5.0, 10.0, 0.5];
    let all = values(&plan, &steps(&plan, 7), &columns(&[&errors, &requests]));
    assert_eq!(all[..6], [0.0, 0.0, 0.0, 0.0, 0.1, 0.3].map(Some), "of the last five minutes");
    assert_eq!(all[6], None, "30 requests in a minute are no verdict");
}

#[test]
fn the_highest_second_of_a_step_is_known() {
    let plan = plan("scope = \"cluster\"\nexpression = \"highest(traffic.requests[60s])\"\nabove = 100").unwrap();
    assert_eq!(plan.wanted[0].statistics, ["value", "min", "max"]);
    let columns =
        Columns { attributes: Vec::new(), values: vec![vec![vec![5.0, 5.0], vec![1.0, 1.0], vec![120.0, 9.0]]] };
    assert_eq!(values(&plan, &steps(&plan, 2), &columns), [Some(120.0), Some(9.0)]);
}

#[test]
fn what_history_does_not_hold_is_refused_by_name() {
    for (rule, wanted) in [
        ("scope = \"node\"\nexpression = \"node.silent_seconds\"\nabove = 3", "node.silent_seconds is a fact"),
        (
            "scope = \"cluster\"\nexpression = \"nodes(system.cpu.utilization > 90%)\"\nabove = 3",
            "nodes(system.cpu.utilization",
        ),
        (
            "scope = \"node\"\nexpression = \"system.cpu.utilization / peers(system.cpu.utilization)\"\nabove = 3",
            "peers(...)",
        ),
        ("scope = \"cluster\"\nexpression = \"max(system.cpu.utilization)\"\nabove = 3", "max(system.cpu.utilization)"),
        (
            "scope = \"cluster\"\nexpression = \"p99(traffic.duration[60s]) / p99(traffic.duration[900s])\"\nabove = 3",
            "1 min",
        ),
    ] {
        let refused = plan(rule).map(|plan| plan.wanted).unwrap_err();
        assert!(refused.contains(wanted) || refused.contains("60 s with those over 15 min"), "{wanted}: {refused}");
    }
}

#[test]
fn the_default_set_is_planned_in_steps_that_show_it() {
    let rules = defaults::with(&[], &[]).unwrap();
    let mut planned = Vec::new();
    let mut refused = Vec::new();
    for rule in rules.all() {
        match Plan::of(rule) {
            Ok(plan) => planned.push((rule.name.as_str(), plan.step)),
            Err(_) => refused.push(rule.name.as_str()),
        }
    }
    for known in [("errors", 60), ("latency", 60), ("cpu-busy", 60), ("disk-full", 10), ("disk-full-soon", 60)] {
        assert!(planned.contains(&known), "{known:?}: {planned:?}");
    }
    let facts =
        ["node-gone", "node-name-clash", "node-cannot-read", "clock-off", "node-slow", "many-nodes-gone", "group-gone"];
    let of_us = [
        "partition-suspected",
        "aggregator-lost",
        "aggregator-blind",
        "aggregator-clock-off",
        "copies-missing",
        "store-paused",
        "certificate-ending",
        "aggregators-contradict",
        "rules-refused",
    ];
    // What is charted of them.
    let charted = |rule: &str| {
        let (series, limit, _) = charted(rules.get(rule).unwrap())?;
        Some((series.into_iter().map(|one| (one.name, one.statistics)).collect::<Vec<_>>(), limit))
    };
    let of = |name: &str, statistic: &str| (name.to_owned(), vec![statistic.to_owned()]);
    let errors = vec![of("traffic.errors", "value"), of("traffic.requests", "value")];
    assert_eq!(charted("errors"), Some((errors, None)));
    assert_eq!(charted("latency"), Some((vec![of("traffic.duration", "p99")], None)));
    let filling = vec![of("system.filesystem.mount.utilization", "value")];
    assert_eq!(charted("disk-full-soon"), Some((filling, Some(1.0))), "against what it is to reach");
    for fact in ["node-gone", "node-slow", "memory-killed"] {
        assert_eq!(charted(fact), None, "{fact}");
    }
    assert_eq!(refused, [&facts[..], &of_us[..], &["alerts-late", "alert-query-failed", "notifier-failing"]].concat());
}
