//! Whatever is written, a query is refused or answered, never a panic.

mod store;

use proptest::prelude::*;
use starling_promql::{Options, Query, Range, limits::Limits};
use store::{Store, T0};

const PIECES: [&str; 68] = [
    "up",
    "g",
    "sum",
    "rate",
    "avg_over_time",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "offset",
    "@",
    "start()",
    "end()",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "5m",
    "[5m]",
    "[1m:3s]",
    "[1m:]",
    "1",
    "0",
    "-1",
    "1e300",
    "NaN",
    "Inf",
    "0x1f",
    "\"a\"",
    "'b'",
    "`c`",
    "\"",
    "\\",
    "=",
    "!=",
    "=~",
    "!~",
    "==",
    ">",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "and",
    "or",
    "unless",
    "atan2",
    ",",
    ":",
    "#",
    "\n",
    " ",
    "ä",
    "label_replace",
    "histogram_quantile",
    "count_values",
    "vector",
    "scalar",
    "time()",
    "{a=\"b\"}",
];

fn answered(text: &str) {
    let mut store = Store::default();
    store.add("up", &[("a", "b")], (0..20).map(|t| (f64::from(t), f64::from(t))));
    store.add("g", &[], (0..20).map(|t| (f64::from(t), 1.0)));
    let Ok(query) = Query::parse(text) else { return };
    let limits = Limits { samples: 100_000, cells: 100_000, series: 1_000 };
    let options = Options { limits, ..Options::default() };
    for range in
        [Range::instant(T0 * 1000 + 10_000), Range { start_ms: T0 * 1000, end_ms: T0 * 1000 + 20_000, step_ms: 3_000 }]
    {
        let data: Vec<_> = query.selects(&range, &options).iter().map(|select| store.select(select)).collect();
        // A refusal is an answer too.
        let _ = query.evaluate(&range, &data, &options);
    }
    let _ = Query::format(text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn no_text_panics(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..14), glued: bool) {
        answered(&pieces.join(if glued { "" } else { " " }));
    }

    #[test]
    fn no_arguments_panic(function in prop::sample::select(&["rate", "topk", "round", "clamp", "hour", "absent", "quantile", "predict_linear", "label_join", "sort", "timestamp", "deriv"][..]), arguments in prop::collection::vec(prop::sample::select(&["up", "g[5m]", "1", "\"x\"", "up[1m:1s]", "-Inf", "NaN", "vector(1)", "time()"][..]), 0..5)) {
        answered(&format!("{function}({})", arguments.join(", ")));
    }
}

#[test]
fn the_longest_and_deepest_are_answered_or_refused() {
    let deep = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    let chain = |n: usize| format!("up{}", " + up".repeat(n));
    let minus = |n: usize| format!("{}up", "-".repeat(n));
    let nested = |n: usize| format!("{}up{}", "abs(".repeat(n), ")".repeat(n));
    let power = |n: usize| format!("2{}", " ^ 1".repeat(n));
    for n in [1, 60, 64, 65, 100, 101, 400, 3_000] {
        [deep(n), chain(n), minus(n), nested(n), power(n)].iter().for_each(|text| answered(text));
    }
    answered("up[1e300]");
    answered("up offset NaN [5m]");
    answered("up offset -Inf");
    answered("up offset 1e300");
    answered("up @ 1e300");
    answered("up @ -1e18");
    answered("sum_over_time(up[100y:1ms])");
    answered("max_over_time(max_over_time(up[100y:100y])[100y:100y] offset 100y)");
}
#[test]
fn the_deepest_query_fits_the_stack() {
    let text = format!("{}up{}{}", "abs(".repeat(64), " + up".repeat(100), ")".repeat(64));
    assert!(Query::parse(&text).is_ok());
    let run = std::thread::Builder::new().stack_size(1536 * 1024).spawn(move || answered(&text));
    run.expect("a thread").join().expect("it is answered");
}
