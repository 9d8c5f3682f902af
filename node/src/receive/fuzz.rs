//! Input that is nearly right: good examples, changed a little, many times over. For the tests of parsers.
//!
//! A target runs for [`TIME`], or for as many inputs as `STARLING_FUZZ_INPUTS` says (`cargo nextest run -p starling-node
//! fuzz_`). The seed is printed, and with an input that makes it panic; `STARLING_FUZZ_SEED` repeats a run.

use std::time::{Duration, Instant};

use starling_proto::{
    frame::Content,
    limits::BUCKET_COUNT_MAX,
    series::{Sample, Value},
};

use crate::uplink::SplitMix;

/// How long each of the six targets runs in CI: together 15 s.
const TIME: Duration = Duration::from_millis(2_500);
/// Inputs that were made before and are changed further.
const POOL: usize = 64;
/// Longest input.
const LEN_MAX: usize = 4_096;
/// Numbers at which something overflows, and texts that are numbers to some.
const NUMBERS: [&str; 18] = [
    "0",
    "-0",
    "1",
    "-1",
    "127",
    "128",
    "255",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e-400",
    "NaN",
    "+Inf",
    "0.1",
];

/// A part of `bytes`.
fn part(random: &mut SplitMix, bytes: &[u8]) -> std::ops::Range<usize> {
    if bytes.is_empty() {
        return 0..0;
    }
    let from = random.below(bytes.len());
    from..from + 1 + random.below((bytes.len() - from).min(32))
}

/// Says what was under way when it is dropped by a panic.
struct Case<'a> {
    name: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: STARLING_FUZZ_SEED={} fails with b\"{}\"", self.name, self.seed, self.input.escape_ascii());
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs `case` with changed forms of `examples` and with the number of each; it returns whether anything was taken of it, which
/// must be so for one in a hundred: else only refusals would be tested. `words` are what the format is made of.
pub(super) fn run(name: &str, examples: &[Vec<u8>], words: &[&str], mut case: impl FnMut(&[u8], u64) -> bool) {
    let seed = setting("STARLING_FUZZ_SEED")
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(7, |since| since.as_nanos() as u64));
    let most = setting("STARLING_FUZZ_INPUTS");
    let (mut random, began) = (SplitMix(seed), Instant::now());
    let mut pool: Vec<Vec<u8>> = examples.to_vec();
    let (mut inputs, mut taken) = (0u64, 0u64);
    while most.map_or_else(|| began.elapsed() < TIME, |most| inputs < most) {
        let mut input = pool[random.below(pool.len())].clone();
        for _ in 0..random.below(6) {
            change(&mut random, &mut input, &pool, words);
        }
        input.truncate(LEN_MAX);
        let under_way = Case { name, seed, input: &input };
        let was_taken = case(under_way.input, inputs);
        drop(under_way);
        taken += u64::from(was_taken);
        inputs += 1;
        // What is still good is changed further; now and then it begins again.
        if inputs % 4_096 == 0 {
            pool = examples.to_vec();
        } else if was_taken && pool.len() < examples.len() + POOL {
            pool.push(input);
        } else if was_taken && random.below(8) == 0 {
            let place = examples.len() + random.below(POOL);
            pool[place] = input;
        }
    }
    let rate = inputs as f64 / began.elapsed().as_secs_f64();
    eprintln!("{name}: seed {seed}, {inputs} inputs, {taken} of them taken, {rate:.0} a second");
    assert!(taken * 100 >= inputs, "{name}: only {taken} of {inputs} inputs were taken");
}

fn change(random: &mut SplitMix, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    let at = random.below(input.len() + 1);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next() as u8,
        2 => input.insert(at, random.next() as u8),
        3 => {
            let range = part(random, input);
            drop(input.drain(range));
        }
        4 => {
            let copied = input[part(random, input)].to_vec();
            drop(input.splice(at..at, copied));
        }
        5 => {
            let other = &pool[random.below(pool.len())];
            let copied = other[part(random, other)].to_vec();
            drop(input.splice(at..at, copied));
        }
        6 => {
            // A number where one stands.
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            let Some(from) = input[at.min(input.len())..].iter().position(is_digit).map(|from| at + from) else {
                return;
            };
            let to = input[from..].iter().position(|byte| !is_digit(byte)).map_or(input.len(), |to| from + to);
            drop(input.splice(from..to, NUMBERS[random.below(NUMBERS.len())].bytes()));
        }
        7 if !words.is_empty() => {
            drop(input.splice(at..at, words[random.below(words.len())].bytes()));
        }
        _ => input.truncate(at),
    }
}

/// Whatever came, each sample can be sent.
pub(super) fn assert_sendable(samples: Vec<Sample>) {
    for sample in samples {
        // More than 4 billion values of one bucket in a second are left out by the report, and counted there.
        if let Value::Histogram(values) = &sample.value
            && !values.within(BUCKET_COUNT_MAX)
        {
            continue;
        }
        let alone = Content { tick: 1, samples: vec![sample], dropped: 0 };
        alone.check().unwrap_or_else(|error| panic!("{}: {error}", alone.samples[0].series));
    }
}
