use proptest::prelude::*;

use super::*;

const GOOD: &str = "[[rule]]\nname = \"a\"\nscope = \"node\"\nexpression = \"system.cpu.utilization\"\nabove = \"90%\"\nseverity = \"error\"\nsummary = \"is busy\"\n";

fn mistakes(text: &str) -> Vec<String> {
    match Rules::read(&[("rules.toml", text)]) {
        Ok(rules) => panic!("taken: {rules:?}"),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_rule_is_read() {
    let rules = Rules::read(&[("rules.toml", GOOD)]).unwrap();
    let rule = rules.get("a").unwrap();
    assert_eq!((rule.scope, rule.above, rule.unit, rule.pending), (Scope::Node, true, Unit::Share, 0));
    assert_eq!(rule.levels, [Level { severity: Severity::Error, fire: 0.9, clear: 0.9 }]);
}

#[test]
fn every_mistake_is_named() {
    // Scenario A47: five mistakes in two files.
    let first = GOOD.replace("severity", "severety").replace("\"90%\"", "\"lots\"");
    let second =
        GOOD.replace("\"90%\"", "\"90%\"\nclear = \"95%\"").replace("system.cpu.utilization", "system.cpu.utilisation")
            + GOOD;
    let found = Rules::read(&[("a.toml", &first), ("b.toml", &second), ("c.toml", GOOD)]).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    for wanted in [
        "a.toml: a: severity: is missing",
        "a.toml: a: above: 'l' stands here, wanted is a number",
        "a.toml: a: severety: is no key of a rule",
        "b.toml: a: clear: 0.95 is on the wrong side of 0.9",
        "b.toml: a: expression: there is no metric system.cpu.utilisation, the nearest is system.cpu.utilization",
        "c.toml: a: name: b.toml has a rule of that name already",
    ] {
        assert!(found.iter().any(|line| line.starts_with(wanted)), "{wanted:?} is not in {found:#?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (from, to, wanted) in [
        ("system.cpu.utilization", "cluster.nodes_silent", "is known of a cluster, the scope is node"),
        ("\"node\"", "\"host\"", "\"host\" is none of cluster, group, node"),
        ("is busy", "is {cpu} busy", "{cpu} stands for nothing"),
        ("name = \"a\"", "name = \"A b\"", "wanted are at most 64 of a-z"),
        ("above = \"90%\"", "above = 1\nbelow = 2", "stands beside above"),
        ("above = \"90%\"", "above = { warning = 2, error = 1 }", "a more severe level begins before"),
        ("above = \"90%\"", "above = 1\nfor = \"1x\"", "no length of time"),
        ("above = \"90%\"", "above = 1\nfor = 30", "wanted is a length of time such as \"30s\""),
        ("above = \"90%\"", "above = 1\nrunbook = \"file:///x\"", "is no address"),
        ("above = \"90%\"", "above = 1\nby = [\"x\", 1]", "wanted is a list of at most"),
        ("[[rule]]", "[rule]", "\"rule\" is no list"),
        ("[[rule]]", "[[rule]]\n= 1", "line 2 is no TOML"),
        ("\"node\"", "\"cluster\"", ""),
    ] {
        let text = GOOD.replace(from, to);
        if wanted.is_empty() {
            assert!(Rules::read(&[("f", &text)]).is_ok());
            continue;
        }
        let found = mistakes(&text);
        assert!(found.iter().any(|line| line.contains(wanted)), "{wanted:?} is not in {found:?}");
    }
    let counts = |of: &str| {
        GOOD.replace("\"node\"", "\"cluster\"").replace("system.cpu.utilization", &format!("firing(\\\"{of}\\\")"))
    };
    assert!(mistakes(&counts("b"))[0].contains("there is no rule \"b\""));
    assert!(mistakes(&counts("a"))[0].contains("counts episodes itself"));
}

#[test]
fn only_what_is_judged_makes_another_rule() {
    let of = |text: &str| Rules::read(&[("f", text)]).unwrap().all()[0].fingerprint();
    assert_eq!(of(GOOD), of(&GOOD.replace("is busy", "is very busy")));
    assert_ne!(of(GOOD), of(&GOOD.replace("90%", "91%")));
}

#[test]
fn hostile_files_are_bounded() {
    let many: String = (0..=RULES_MAX).map(|at| GOOD.replace("name = \"a\"", &format!("name = \"a{at}\""))).collect();
    assert!(mistakes(&many).iter().any(|line| line.contains("rules are too many")));
    assert!(mistakes(&"#".repeat(FILE_BYTES_MAX + 1))[0].contains("are too much"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\[\\[rule\\]\\]\n([a-z]{1,10} = (\"[^\"\\\\\n]{0,12}\"|[0-9]{1,4}|\\{ error = 1 \\})\n){0,6}){0,3}") {
        let _ = Rules::read(&[("f", &text)]);
    }
}

#[test]
fn a_query_is_a_rule_with_the_place_of_its_mistake() {
    const QUERY: &str = "[[rule]]\nname = \"q\"\npromql = \"sum(queue) by (pod)\"\nevery = \"1m\"\nabove = 10\nseverity = \"error\"\nsummary = \"{pod} is long\"\n";
    let rules = Rules::read(&[("f", QUERY)]).unwrap();
    let rule = &rules.all()[0];
    assert_eq!((rule.text.as_str(), rule.every, rule.scope), ("sum(queue) by (pod)", Some(60), Scope::Cluster));
    assert_eq!(rule.metrics().count(), 0, "nothing of it is read second by second");
    let usual = Rules::read(&[("f", &QUERY.replace("every = \"1m\"\n", ""))]).unwrap();
    assert_eq!(usual.all()[0].every, Some(30));
    assert_ne!(usual.all()[0].fingerprint(), rule.fingerprint());
    for (from, to, wanted) in [
        ("sum(queue) by (pod)", "sum(queue by (pod)", "rules.toml: q: promql: 1:"),
        ("sum(queue) by (pod)", "queue[5m]", "promql: 1:1: it gives all samples of a range"),
        ("every = \"1m\"", "every = \"1s\"", "every: wanted are 5 s to 3600 s"),
        ("every = \"1m\"", "scope = \"node\"", "scope: a query is asked of the whole cluster"),
        ("every = \"1m\"", "by = [\"pod\"]", "by: stands beside promql"),
        ("every = \"1m\"", "expression = \"system.cpu.busy\"", "expression: stands beside promql"),
        (
            "promql = \"sum(queue) by (pod)\"",
            "scope = \"cluster\"\nexpression = \"system.cpu.utilization\"",
            "every: stands without promql",
        ),
    ] {
        let found = mistakes(&QUERY.replace(from, to));
        assert!(found.iter().any(|line| line.contains(wanted)), "{wanted}: {found:?}");
    }
}
