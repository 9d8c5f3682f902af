//! `starling rules backtest`: rules over stored history.

use std::{path::PathBuf, sync::Arc, time::Instant};

use serde_json::{Value as Json, json};
use starling_alerts::{
    Rule, Rules, Subject,
    backtest::{self, Fired, Plan, TRIED},
    words::{length, value},
};

use super::history::{Found, History};
use crate::asked::Asked;

/// Times that are listed of a rule; all are in the JSON.
const LISTED: usize = 20;
/// Longest range: what is kept by the minute, for nodes.
const RANGE_MAX: u32 = 30 * 86_400;

/// See the module.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BacktestArgs {
    /// Files of rules; none: the default rules
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Only these rules
    #[arg(long = "rule", value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    asked: Asked,
    /// How far back from the newest second, such as "24h" or "7d"
    #[arg(long, default_value = "7d", value_name = "LENGTH", conflicts_with = "from", value_parser = seconds)]
    over: u32,
    /// From this moment on, Unix seconds or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<u32>,
    /// To this moment; without it to the newest second
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<u32>,
    /// Only this subject: "cluster", "group zone:a" or "node web-1"
    #[arg(long, value_parser = subject)]
    subject: Option<Subject>,
    /// Holds that are tried beside that of the rule; those that are longer are
    #[arg(long, value_name = "LENGTH", value_delimiter = ',', value_parser = seconds)]
    try_hold: Option<Vec<u32>>,
    /// Lengths of `for` that are tried beside that of the rule
    #[arg(long, value_name = "LENGTH", value_delimiter = ',', value_parser = seconds)]
    try_for: Option<Vec<u32>>,
    /// Judge in steps of so many seconds instead of those that show the rule
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    step: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<u32, String> {
    let ms = starling_alerts::parse_duration(text)?;
    match u32::try_from(ms / 1_000) {
        Ok(seconds) if ms % 1_000 == 0 && seconds > 0 => Ok(seconds),
        _ => Err("wanted are whole seconds".to_owned()),
    }
}

fn moment(text: &str) -> Result<u32, String> {
    let wanted = || format!("{text:?} is neither Unix seconds nor a time such as 2026-11-27T12:00:00Z");
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| wanted())?;
    u32::try_from(time.as_second()).map_err(|_| wanted())
}

fn subject(text: &str) -> Result<Subject, String> {
    Subject::parse(text)
}

/// One rule with its lengths, and when it would have fired.
struct Run {
    rule: Rule,
    fired: Vec<Fired>,
}

/// What became of a rule.
enum Judged {
    /// It was judged; first as it is, then with other lengths.
    Runs { plan: Box<Plan>, found: Box<Found>, runs: Vec<Run> },
    /// It cannot be.
    Refused(String),
}

impl BacktestArgs {
    /// Does it.
    pub(super) fn run(&self, rules: &Rules) -> Result<bool, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(self.judge(rules))
    }

    async fn judge(&self, rules: &Rules) -> Result<bool, String> {
        for name in &self.names {
            rules.get(name).ok_or_else(|| format!("there is no rule {name:?}"))?;
        }
        let is_asked = |rule: &&Arc<Rule>| match (self.names.as_slice(), self.files.as_slice()) {
            ([], []) => true,
            // Those of the files, not the default ones beside them.
            ([], _) => !rule.file.is_empty(),
            (names, _) => names.contains(&rule.name),
        };
        let history = History::of(self.asked.connect().await?);
        let newest = history.newest().await?;
        let to = self.to.unwrap_or(newest).min(newest);
        let from = self.from.unwrap_or_else(|| to.saturating_sub(self.over - 1));
        if from > to || to - from >= RANGE_MAX {
            return Err(format!("--from: from {from} to {to} is not a range of at most {}", length(RANGE_MAX)));
        }
        let mut all = Vec::new();
        for rule in rules.all().iter().filter(is_asked) {
            let began = Instant::now();
            let judged = self.rule(&history, rule, (from, to)).await?;
            let seconds = began.elapsed().as_secs_f64();
            if self.json {
                all.push(as_json(rule, &judged, (from, to), seconds));
            } else {
                print(rule, &judged, (from, to), seconds);
            }
        }
        if self.json {
            println!("{:#}", json!({ "from": from, "to": to, "rules": all }));
        }
        Ok(true)
    }

    async fn rule(&self, history: &History, rule: &Arc<Rule>, range: (u32, u32)) -> Result<Judged, String> {
        let mut plan = match Plan::of(rule) {
            Ok(plan) => plan,
            Err(what) => return Ok(Judged::Refused(what)),
        };
        if let Some(step) = self.step {
            plan.judge_by(step);
        }
        if self.subject.as_ref().is_some_and(|subject| subject.scope() != rule.scope) {
            return Ok(Judged::Refused(format!("it judges each {}, --subject is none", rule.scope.as_str())));
        }
        let found = history.read(&mut plan, range, self.subject.as_ref()).await?;
        let holds = self.try_hold.as_deref().unwrap_or(&TRIED);
        let pendings = self.try_for.as_deref().unwrap_or(&TRIED);
        let all = backtest::variants(rule, holds, pendings).into_iter();
        let mut runs: Vec<Run> = all.map(|rule| Run { rule, fired: Vec::new() }).collect();
        for (subject, columns) in &found.columns {
            let values = backtest::values(&plan, &found.steps, columns);
            for run in &mut runs {
                run.fired.extend(backtest::fired(&run.rule, (subject, &columns.attributes), &found.steps, &values));
            }
        }
        runs.iter_mut().for_each(|run| run.fired.sort_by_key(|one| one.since));
        Ok(Judged::Runs { plan: Box::new(plan), found: Box::new(found), runs })
    }
}

fn times(count: usize) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// "with hold 30 s or 2 min once": lengths with the same count in one.
fn tried<'a>(word: &str, runs: impl Iterator<Item = (u32, &'a Run)>) -> String {
    let mut parts: Vec<(usize, Vec<String>)> = Vec::new();
    for (seconds, run) in runs {
        let count = run.fired.len();
        match parts.last_mut() {
            Some((last, lengths)) if *last == count => lengths.push(length(seconds)),
            _ => parts.push((count, vec![length(seconds)])),
        }
    }
    parts.iter().map(|(count, lengths)| format!("; with {word} {} {}", lengths.join(" or "), times(*count))).collect()
}

fn print(rule: &Rule, judged: &Judged, (from, to): (u32, u32), seconds: f64) {
    let (plan, found, runs) = match judged {
        Judged::Refused(what) => {
            println!("{}: cannot be judged over history: {what}", rule.name);
            return;
        }
        Judged::Runs { plan, found, runs } => (plan, found, runs),
    };
    let Some((own, others)) = runs.split_first() else { return };
    let over = length(to - from + 1);
    let fired = match own.fired.len() {
        0 => format!("would not have fired in {over}"),
        count => format!("would have fired {} in {over}", times(count)),
    };
    let held = others.iter().filter(|run| run.rule.hold != rule.hold).map(|run| (run.rule.hold, run));
    let waited = others.iter().filter(|run| run.rule.pending != rule.pending).map(|run| (run.rule.pending, run));
    let tried = if own.fired.is_empty() { String::new() } else { tried("hold", held) + &tried("for", waited) };
    println!("{}: {fired}{tried}", rule.name);
    for one in own.fired.iter().take(LISTED) {
        let of: Vec<String> = one.attributes.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
        let still = if one.ended.is_none() { ", still open" } else { "" };
        let (at, worst) = (value(one.value, rule.unit), value(one.worst, rule.unit));
        println!(
            "  {} for {}{still}: {}{of}: {}, {at} when it fired, worst {worst}",
            time(one.since),
            length(one.length()),
            one.subject,
            one.severity.as_str()
        );
    }
    if own.fired.len() > LISTED {
        println!("  and {} more: --json lists all", own.fired.len() - LISTED);
    }
    for note in plan.notes.iter().chain(&found.notes) {
        println!("  {note}");
    }
    let whole = u64::from(to - from + 1);
    if found.seconds + u64::from(plan.step) < whole {
        println!("  history holds {} of it", length(u32::try_from(found.seconds).unwrap_or(u32::MAX)));
    }
    let judged = found.steps.ticks.len() * found.columns.len();
    println!("  {judged} steps of {} subjects in {seconds:.2} s", found.columns.len());
}

fn as_json(rule: &Rule, judged: &Judged, (from, to): (u32, u32), seconds: f64) -> Json {
    let (plan, found, runs) = match judged {
        Judged::Refused(what) => return json!({ "rule": rule.name, "refused": what }),
        Judged::Runs { plan, found, runs } => (plan, found, runs),
    };
    let runs = runs.iter().map(|run| {
        let fired: Vec<Json> = run.fired.iter().map(of_fired).collect();
        json!({ "forSeconds": run.rule.pending, "holdSeconds": run.rule.hold, "times": fired.len(), "fired": fired })
    });
    json!({
        "rule": rule.name,
        "from": from,
        "to": to,
        "stepSeconds": plan.step,
        "secondsWithData": found.seconds,
        "subjects": found.columns.len(),
        "notes": plan.notes.iter().chain(&found.notes).collect::<Vec<_>>(),
        "unit": starling_alerts::shown::unit(rule.unit),
        "runs": runs.collect::<Vec<_>>(),
        "tookSeconds": seconds,
    })
}

fn of_fired(one: &Fired) -> Json {
    let attributes: serde_json::Map<String, Json> =
        one.attributes.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect();
    json!({
        "scope": one.subject.scope().as_str(),
        "subject": one.subject.name(),
        "attributes": attributes,
        "since": one.since,
        "fired": one.fired,
        "ended": one.ended,
        "lengthSeconds": one.length(),
        "severity": one.severity.as_str(),
        "valueAtFiring": one.value,
        "worst": one.worst,
        "crossings": one.crossings,
    })
}

/// "2026-11-24 10:15:00 UTC".
fn time(tick: u32) -> String {
    jiff::Timestamp::from_second(i64::from(tick))
        .map_or_else(|_| tick.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}
