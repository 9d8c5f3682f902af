#![allow(unreachable_pub, reason = "the macro makes what programs offer to others")]

use super::*;
use crate::{
    credentials::Exposure,
    listen,
    parts::Parts,
    settings::{Mistakes, kind},
};

crate::settings! {
    /// Settings of a program for tests.
    pub struct Config {
        /// Where it listens.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 0)), kind::listen();
        /// What becomes of its part: "runs", "ends", "fails" or "panics".
        pub part: String = "runs".to_owned(), kind::text(1..=8);
    }
    together together;
}

fn together(config: &Config, mistakes: &mut Mistakes) {
    let exposure = Exposure { tls: false, insecure: false };
    exposure.listener("listen", config.listen, mistakes);
}

/// A service with one part, which does what the settings say.
struct Probe {
    address: SocketAddr,
    part: String,
    ready: watch::Sender<Readiness>,
}

impl Program for Probe {
    const NAME: &'static str = "starling-probe";
    const ABOUT: &'static str = "Shows what becomes of a part.";
    const SETTINGS: &'static str = "probe";
    type Config = Config;

    async fn bind(config: Config, _: Registry) -> anyhow::Result<Self> {
        config.check()?;
        let (_, address) = listen::tcp(config.listen, "listen")?;
        Ok(Self { address, part: config.part, ready: watch::Sender::new(Readiness::Ready) })
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("probe", self.address)]
    }

    fn readiness(&self) -> watch::Receiver<Readiness> {
        self.ready.subscribe()
    }

    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut parts = Parts::default();
        let part = self.part.clone();
        parts.start("part", |stop| async move {
            match part.as_str() {
                "ends" => Ok(()),
                "fails" => anyhow::bail!("it could not"),
                "panics" => panic!("a bug"),
                _ => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        });
        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            failure = parts.failed() => Some(failure),
        };
        let why = failure.as_ref().map_or_else(|| "stopping".to_owned(), ToString::to_string);
        self.ready.send_replace(Readiness::NotReady(why));
        parts.stop("part", Duration::from_secs(5)).await;
        failure.map_or(Ok(()), Err)
    }
}

fn code(arguments: &[&str]) -> u8 {
    run_with::<Probe>(["starling-probe"].iter().chain(arguments).map(OsString::from))
}

#[test]
fn exit_codes_are_the_same_for_every_program() {
    assert_eq!(code(&["--help"]), 0);
    assert_eq!(code(&["--version"]), 0);
    assert_eq!(code(&["--check-config"]), 0);
    assert_eq!(code(&["--print-config"]), 0);
    assert_eq!(code(&["--nonsense"]), 2, "a flag");
    assert_eq!(code(&["--once"]), 2, "it has nothing to say once");
    assert_eq!(code(&["--set", "nonsense=1"]), 2, "a setting");
    assert_eq!(code(&["--config", "/nonexistent.toml"]), 2, "a file");
    assert_eq!(code(&["--log", "starling=loud"]), 2, "a filter");
    assert_eq!(code(&["--set", "part=fails"]), 1, "a part that failed");
    assert_eq!(code(&["--set", "part=ends"]), 1, "a part that ended");
}

#[test]
fn texts_for_packages_are_made_of_the_same_definition_and_their_flags_are_hidden() {
    let command = TextArgs::augment_args(describe::<Probe>(CommonArgs::augment_args(clap::Command::new(Probe::NAME))));
    assert!(!command.clone().render_long_help().to_string().contains("--completions"));
    let written = |flags: &[&str]| {
        let matches = command.clone().get_matches_from([&["x"], flags].concat());
        let mut text = Vec::new();
        TextArgs::from_arg_matches(&matches).unwrap().write(command.clone(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let page = written(&["--man"]);
    assert!(page.contains("starling-probe 8") && page.contains("print\\-config"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let text = written(&["--completions", shell]);
        assert!(text.contains("print-config") && text.contains("starling-probe"), "{shell}: {text}");
    }
    assert_eq!(code(&["--man"]), 0);
    assert_eq!(code(&["--completions", "csh"]), 2);
}

#[test]
fn help_names_a_setting_of_this_program_and_the_log() {
    let command = describe::<Probe>(CommonArgs::augment_args(clap::Command::new("x")));
    let help = command.clone().render_long_help().to_string();
    for part in
        ["--set listen=127.0.0.1:0", "STARLING_PROBE__LISTEN", "STARLING_LOG", "[default: info]", "--print-config"]
    {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
}

#[tokio::test]
async fn a_part_that_dies_takes_readiness_away_and_ends_the_program() {
    for (part, why) in [("ends", "ended by itself"), ("fails", "it could not"), ("panics", "it panicked: a bug")] {
        let config = Config { part: part.to_owned(), ..Config::default() };
        let mut running = Running::start::<Probe>(config, CancellationToken::new()).await.unwrap();
        let error = format!("{:#}", running.ended().await.unwrap_err());
        assert!(error.contains("the part") && error.contains(why), "{part}: {error}");
        assert!(matches!(&*running.readiness().borrow(), Readiness::NotReady(why) if why.contains("the part")));
    }
}

#[tokio::test]
async fn asked_to_stop_it_ends_well() {
    let stop = CancellationToken::new();
    let mut running = Running::start::<Probe>(Config::default(), stop.clone()).await.unwrap();
    running.ready().await;
    assert!(running.address("probe").is_some_and(|address| address.port() != 0));
    assert_eq!(running.address("admin"), None);
    stop.cancel();
    running.ended().await.unwrap();
    assert_eq!(*running.readiness().borrow(), Readiness::NotReady("stopping".to_owned()));
}

#[tokio::test]
async fn settings_made_in_code_are_checked() {
    let config = Config { listen: "192.0.2.1:0".parse().unwrap(), ..Config::default() };
    let error = Running::start::<Probe>(config, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("listen: 192.0.2.1:0 can be reached by other hosts"), "{error}");
}

#[test]
fn an_announcement_is_one_line_of_pairs() {
    let address = "127.0.0.1:7400".parse().unwrap();
    assert_eq!(announcement("starling-node", &[("otlp", address)]), "starling-node listening otlp=127.0.0.1:7400");
}

#[tokio::test(start_paused = true)]
async fn a_person_hears_what_is_waited_for_and_of_the_first_data() {
    let (sender, ready) = watch::channel(Readiness::NotReady("no aggregator is reached".to_owned()));
    let lines = std::sync::Mutex::new(Vec::new());
    let told = tell_first_data(ready, |line| lines.lock().unwrap().push(line.to_owned()));
    let starts = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        sender.send_replace(Readiness::Ready);
    };
    tokio::join!(told, starts);
    let waits = "waiting for the first data: no aggregator is reached";
    assert_eq!(*lines.lock().unwrap(), [waits, waits, "first data after 12.0 s"]);
}
