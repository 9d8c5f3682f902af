//! Every program is started, asked and stopped alike.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use starling_tests::{Program, binary, eventually};

const PROGRAMS: [&str; 3] = ["starling-node", "starling-aggregator", "starling-dashboard"];

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary(program));
    command.args(arguments).stdin(Stdio::null()).env_remove("STARLING_LOG").envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn settings_that_are_wrong_end_with_2_and_the_same_words() {
    for program in PROGRAMS {
        let (code, _, said) = run(program, &["--set", "nonsense=1", "--set", "admin_listen=0.0.0.0:1"], &[]);
        assert_eq!(code, Some(2), "{program}: {said}");
        assert!(said.starts_with(&format!("{program}: the settings are not valid:\n  ")), "{said}");
        let exposed = "  admin_listen: 0.0.0.0:1 can be reached by other hosts";
        assert!(said.contains("  nonsense: unknown key") && said.contains(exposed), "{said}");
        assert_eq!(run(program, &["--log", "a=b=c"], &[]).0, Some(2), "{program}: a filter that is none");
        assert_eq!(run(program, &["--check-config"], &[]).0, Some(0));
    }
    let (code, _, said) = run("starling", &["up", "--nodes", "0", "--set", "node.ring_frame=1"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nodes: 0 is out of range") && said.contains("did you mean node.ring_frames?"), "{said}");
}

#[test]
fn a_start_that_fails_ends_with_1_and_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("admin_listen={}", taken.local_addr().unwrap());
    for (program, free) in PROGRAMS.into_iter().zip(["otlp_listen", "grpc_listen", "listen"]) {
        let (code, _, said) = run(program, &["--set", &setting, "--set", &format!("{free}=127.0.0.1:0")], &[]);
        assert_eq!(code, Some(1), "{program}: {said}");
        assert!(said.contains(&format!("{program}: admin_listen = ")) && said.contains("set another port"), "{said}");
    }
}

#[test]
fn every_value_is_printed_with_its_origin() {
    for program in PROGRAMS {
        let variable = format!("{}__ADMIN_LISTEN", program.to_uppercase().replace('-', "_"));
        let (code, printed, _) = run(program, &["--print-config"], &[(&variable, "127.0.0.1:9")]);
        assert_eq!(code, Some(0), "{program}");
        let line = format!("admin_listen = \"127.0.0.1:9\"  # environment {variable}");
        assert!(printed.lines().any(|printed| printed == line), "{program}: {printed}");
        assert!(printed.contains("  # default"), "{printed}");
    }
}

#[test]
fn help_and_version_say_what_an_operator_looks_for() {
    for (program, arguments) in
        PROGRAMS.map(|program| (program, vec!["--help"])).into_iter().chain([("starling", vec!["up", "--help"])])
    {
        let (code, help, _) = run(program, &arguments, &[]);
        assert_eq!(code, Some(0));
        for part in ["--log", "STARLING_LOG", "--log-format", "--check-config", "--print-config", "--set"] {
            assert!(help.contains(part), "{program}: {part} is not in\n{help}");
        }
    }
    for program in PROGRAMS.into_iter().chain(["starling"]) {
        let (code, version, _) = run(program, &["--version"], &[]);
        assert_eq!(code, Some(0));
        let commit = version.trim().strip_prefix(&format!("{program} {} (commit ", env!("CARGO_PKG_VERSION")));
        assert!(commit.is_some_and(|commit| commit.len() > 1 && commit.ends_with(')')), "{version}");
    }
}

#[test]
fn a_log_that_no_terminal_reads_has_no_colours() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = format!("state_dir={}", state.path().display());
    let free = ["grpc_listen", "gossip_listen", "admin_listen"].map(|key| format!("{key}=127.0.0.1:0"));
    let mut child = Command::new(binary("starling-aggregator"))
        .args(free.iter().chain([&state_dir]).flat_map(|setting| ["--set", setting.as_str()]))
        .env_remove("NO_COLOR")
        .env("STARLING_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut announced = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut announced).unwrap();
    assert!(announced.starts_with("starling-aggregator listening grpc=127.0.0.1:"), "{announced}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("INFO") && log.contains("stopped"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn a_daemon_that_cannot_read_its_host_does_not_start() {
    for flags in [&["--check-config"][..], &[]] {
        let arguments = [&["--set", "procfs=/nonexistent"], flags].concat();
        let (code, _, said) = run("starling-node", &arguments, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("  procfs: /nonexistent/stat does not exist") && said.contains("mount the host's"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}

#[test]
fn a_person_hears_of_the_first_data_and_of_the_stop_and_two_signals_at_once_are_one() {
    let state = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary("starling"))
        .args(["up", "--free-ports", "--state", &state.path().display().to_string()])
        .env_remove("STARLING_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        let last = line.starts_with("first data after ");
        seen.push(line);
        if last {
            break;
        }
    }
    let process = rustix::process::Pid::from_child(&child);
    for _ in 0..2 {
        rustix::process::kill_process(process, Signal::TERM).unwrap();
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert!(seen.last().is_some_and(|line| line.starts_with("first data after ")), "{seen:?}\n{log}");
    assert_eq!(status.code(), Some(0), "as timeout(1) stops what it runs: {log}");
    assert!(log.contains("stopping; again to stop at once") && !log.contains("stopping at once"), "{log}");
}

#[tokio::test]
async fn a_program_ends_with_the_thread_that_started_it() {
    let settings = ["grpc_listen", "gossip_listen", "admin_listen"].map(|key| format!("{key}=127.0.0.1:0"));
    let start = move || {
        let settings: Vec<&str> = settings.iter().map(String::as_str).chain(["state_dir={dir}/state"]).collect();
        Program::with_settings("starling-aggregator", &settings)
    };
    let mut program = std::thread::spawn(start).join().unwrap();
    eventually("it ended too", async || match program.is_running() {
        true => Err("it runs".to_owned()),
        false => Ok(()),
    })
    .await;
}

#[test]
fn a_service_manager_hears_that_a_program_works_how_it_is_that_it_lives_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let manager = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    for program in PROGRAMS {
        let listens: &[&str] = match program {
            "starling-node" => &["otlp_listen", "otlp_http_listen", "statsd_listen", "admin_listen"],
            "starling-aggregator" => &["grpc_listen", "gossip_listen", "admin_listen"],
            _ => &["listen"],
        };
        let mut settings: Vec<String> = listens.iter().map(|key| format!("{key}=127.0.0.1:0")).collect();
        match program {
            "starling-aggregator" => settings.push(format!("state_dir={}", folder.path().join("state").display())),
            _ => settings.push("aggregators=[\"127.0.0.1:9\"]".to_owned()),
        }
        let mut child = Command::new(binary(program))
            .args(settings.iter().flat_map(|setting| ["--set", setting.as_str()]))
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", "400000")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let first = heard();
        assert!(first.starts_with("READY=1\nSTATUS=not ready: "), "{program}: {first}");
        while heard() != "WATCHDOG=1" {}
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
        while heard() != "STOPPING=1\nSTATUS=stopping" {}
        assert!(child.wait().unwrap().success(), "{program}");
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 4096]).is_ok() {}
        manager.set_nonblocking(false).unwrap();
    }
}

/// In namespaces of its own for the name and the mounts, as a container has them, and begun by no service manager.
#[test]
fn a_daemon_in_a_container_takes_no_name_from_it() {
    let host_name = "3f9c2a17be01";
    let run_in = |namespaces: &[&str], variables: &[(&str, &str)], arguments: &[&str]| {
        let script = format!("hostname {host_name} && exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["sh", "-c", &script]).arg(binary("starling-node")).args(arguments);
        command.env_remove("INVOCATION_ID").envs(variables.iter().copied()).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let run = |variables: &[(&str, &str)], arguments: &[&str]| run_in(&["--uts", "--mount"], variables, arguments);
    if run(&[], &["--version"]).0 != Some(0) {
        eprintln!("left out: no UTS namespace can be made here");
        return;
    }
    let (code, said) = run(&[], &["--check-config"]);
    assert_eq!(code, Some(2), "{said}");
    for part in ["node_id: is not set", host_name, "STARLING_NODE__NODE_ID", "join --name"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let join = ["join", "127.0.0.1:9", "--token-file", &token.display().to_string()];
    let (code, said) = run(&[], &join);
    assert!(code == Some(2) && said.contains("give one by --name"), "{said}");
    // Told its name, or a unit with ProtectHostname=.
    for variable in [("STARLING_NODE__NODE_ID", "web-1"), ("INVOCATION_ID", "00112233445566778899aabbccddeeff")] {
        let (code, said) = run(&[variable], &["--check-config"]);
        assert_eq!(code, Some(0), "{variable:?}: {said}");
    }
    // A host of which a person set only the name apart, where these tests run on one.
    let first = ["mnt:[4026531832]", "mnt:[4026531840]", "mnt:[4026531841]"];
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    if first.iter().any(|first| own.as_os_str() == *first) {
        let (code, said) = run_in(&["--uts"], &[], &["--check-config"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// A signal that would end any program without a handler. Each says what of the settings takes a restart, and leaves nothing.
#[tokio::test]
async fn a_hangup_says_what_takes_a_restart_and_a_thousand_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    let settings = "aggregators = [\"127.0.0.1:9\"]\nadmin_listen = \"127.0.0.1:0\"\notlp = false\n";
    std::fs::write(&file, settings).unwrap();
    let node = Program::start("starling-node", &["--config", &file.display().to_string()]);
    let says = async |wanted: &str| {
        eventually("the log says it", async || {
            node.signal(Signal::HUP);
            let log = node.log();
            if log.contains(wanted) { Ok(()) } else { Err(log) }
        })
        .await;
    };
    says("settings read again: as they run").await;
    std::fs::write(&file, format!("{settings}node_id = \"other\"\nlabels.zone = \"b\"\n")).unwrap();
    says("changed=\"node_id, labels\"").await;
    std::fs::write(&file, "node_id = 7\n").unwrap();
    says("a restart would fail").await;
    std::fs::write(&file, settings).unwrap();
    let left = || {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", node.id())).unwrap().count();
        (count("fd"), count("task"))
    };
    for _ in 0..100 {
        node.signal(Signal::HUP);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let before = left();
    for _ in 0..1_000 {
        node.signal(Signal::HUP);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // Threads of blocking work come and go, by a few.
    let after = left();
    assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 2, "{before:?}, {after:?}");
    assert!(node.cost().0 > std::time::Duration::ZERO, "it still runs");
}

/// Who closes a terminal means to stop what runs in it.
#[test]
fn a_program_at_a_terminal_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    // Becomes the leader of a terminal's session, as a shell; ends with the code of the program, 99 when that runs on.
    let session = r#"
import os, pty, sys, time
process, terminal = pty.fork()
if process == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"starling-node listening" not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
for _ in range(300):
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.1)
os.kill(process, 9)
sys.exit(99)
"#;
    let settings = ["aggregators=[\"127.0.0.1:9\"]", "admin_listen=127.0.0.1:0", "otlp=false", "shutdown_grace_secs=5"];
    let output = Command::new("python3")
        .args(["-c", session])
        .arg(binary("starling-node"))
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
}
