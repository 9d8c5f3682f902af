//! `starling rules`: alert rules checked and tested without an aggregator, and judged over history with one.
//!
//! - [`history`]: what rules read of history, asked of an aggregator;
//! - [`backtest`]: when they would have fired.

mod backtest;
mod history;

use std::{fs, path::PathBuf};

use starling_alerts::{Rules, defaults, trial};

use self::backtest::BacktestArgs;

/// Something is wrong with the rules, or a test failed.
const FOUND: u8 = 1;
/// A file could not be read, or an aggregator not be asked.
const CANNOT: u8 = 2;

/// Checks and tests alert rules.
///
/// Exit codes: 0 all is well, 1 a mistake in the rules or a test that fails, 2 a file cannot be read or no aggregator answers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Name every mistake in files of rules
    Check {
        /// Files of rules
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run tests of rules; what can be written in them stands in docs/alerts.md
    Test {
        /// Files of tests
        #[arg(required = true, value_name = "FILE")]
        tests: Vec<PathBuf>,
        /// Files of rules beside the default rules
        #[arg(long, value_name = "FILE")]
        rules: Vec<PathBuf>,
    },
    /// Say when rules would have fired in the history that an aggregator has, also with other lengths of `for` and `hold`
    Backtest(BacktestArgs),
    /// Print the default rules
    Defaults,
}

impl RulesArgs {
    /// Does it; the exit code.
    pub(crate) fn run(&self) -> u8 {
        let done = match &self.what {
            What::Check { files } => check(files),
            What::Test { tests, rules } => test(tests, rules),
            What::Backtest(args) => backtest(args),
            What::Defaults => {
                print!("{}", defaults::TEXT);
                Ok(true)
            }
        };
        match done {
            Ok(true) => 0,
            Ok(false) => FOUND,
            Err(error) => {
                eprintln!("starling rules: {error}");
                CANNOT
            }
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
    let one = |path: &PathBuf| {
        let name = path.display().to_string();
        fs::read_to_string(path).map(|text| (name.clone(), text)).map_err(|error| format!("{name}: {error}"))
    };
    paths.iter().map(one).collect()
}

/// The rules in force with these files; `None` once every mistake is printed.
fn rules(files: &[(String, String)]) -> Option<Rules> {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match defaults::with(&files, &[]) {
        Ok(rules) => Some(rules),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
            None
        }
    }
}

fn check(files: &[PathBuf]) -> Result<bool, String> {
    let Some(rules) = rules(&read(files)?) else { return Ok(false) };
    let own = rules.all().iter().filter(|rule| !rule.file.is_empty()).count();
    println!(
        "{own} rules in {} files are right; with the default rules {} are in force",
        files.len(),
        rules.all().len()
    );
    Ok(true)
}

fn backtest(args: &BacktestArgs) -> Result<bool, String> {
    match rules(&read(&args.files)?) {
        Some(rules) => args.run(&rules),
        None => Ok(false),
    }
}

fn test(tests: &[PathBuf], files: &[PathBuf]) -> Result<bool, String> {
    let Some(rules) = rules(&read(files)?) else { return Ok(false) };
    let (mut passed, mut failed) = (0, 0);
    for (name, text) in read(tests)? {
        match trial::run(&rules, &text) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    if outcome.differs.is_empty() {
                        passed += 1;
                        continue;
                    }
                    failed += 1;
                    println!("FAILED {name}: {}", outcome.name);
                    outcome.differs.iter().for_each(|line| println!("  {line}"));
                }
            }
            Err(wrong) => {
                failed += wrong.len();
                wrong.iter().for_each(|line| println!("FAILED {name}: {line}"));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}
