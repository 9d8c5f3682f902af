//! Hosts of a fleet: network namespaces with addresses of their own on one switch. They need root.

use std::{path::Path, process::Command};

use crate::{Launch, Program, binary};

/// Set for the part of a test that runs on one of the hosts: the start of their names.
const INSIDE: &str = "STARLING_TEST_HOSTS";

/// Hosts on one switch. Whoever made them takes them away; the part of a test that runs inside only knows them.
#[derive(Debug)]
pub struct Hosts {
    prefix: String,
    made: Vec<String>,
}

impl Hosts {
    /// Makes `hosts`, each a name and its addresses with the length of the prefix ("10.90.0.1/16"), and does `work` on the host
    /// `on`: there `test`, the calling one, runs again. Without root that is said and nothing is shown.
    ///
    /// # Panics
    /// When the test fails there.
    pub fn run_on(on: &str, test: &str, hosts: &[(&str, &[&str])], work: impl AsyncFnOnce(Self)) {
        if let Ok(prefix) = std::env::var(INSIDE) {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
            return runtime.block_on(work(Self { prefix, made: Vec::new() }));
        }
        let hosts = match crate::chaos::network_available().and_then(|()| Self::make(hosts)) {
            Ok(hosts) => hosts,
            Err(missing) => return eprintln!("NOT RUN: {missing}"),
        };
        let status = Command::new("ip")
            .args(["netns", "exec", &hosts.name(on)])
            .arg(std::env::current_exe().expect("the path of this test"))
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, &hosts.prefix)
            .status();
        assert!(status.expect("ip runs").success(), "see above");
    }

    fn make(wanted: &[(&str, &[&str])]) -> Result<Self, String> {
        let mut hosts = Self { prefix: format!("sf{}", std::process::id()), made: vec!["sw".to_owned()] };
        let switch = hosts.name("sw");
        tried(&format!(
            "ip netns add {switch}; ip -n {switch} link add br0 type bridge; ip -n {switch} link set br0 up"
        ))?;
        for (name, addresses) in wanted {
            hosts.made.push((*name).to_owned());
            let host = hosts.name(name);
            tried(&format!(
                "ip netns add {host}; ip link add {name} netns {switch} type veth peer name eth0 netns {host}
                 ip -n {switch} link set {name} master br0 up; ip -n {host} link set lo up; ip -n {host} link set eth0 up"
            ))?;
            for address in *addresses {
                hosts.on(name, &format!("ip addr add {address} dev eth0{}", no_dad(address)));
            }
        }
        Ok(hosts)
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// Runs a line of the shell on a host; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn on(&self, host: &str, command: &str) -> String {
        let host = self.name(host);
        tried(&format!("ip netns exec {host} sh -e <<'END_OF_COMMAND'\n{command}\nEND_OF_COMMAND"))
            .unwrap_or_else(|error| panic!("{host}: {error}"))
    }

    /// Starts a program on a host.
    #[must_use]
    pub fn start(&self, host: &str, program: &str, settings: &[String]) -> Program {
        let path = binary(program).display().to_string();
        let mut arguments = vec!["netns".to_owned(), "exec".to_owned(), self.name(host), path];
        arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().find(|ip| Path::new(ip).exists());
        Program::launch(Launch { path: ip.expect("iproute2").into(), arguments, user: None, lines: None })
    }
}

/// An address of IPv6 is used at once, not after it was looked whether another host has it.
fn no_dad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

fn tried(command: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-ec", command]).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command}: {said}")),
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.made {
            // What was not made is not there.
            let _ = Command::new("ip").args(["netns", "del", &self.name(host)]).output();
        }
    }
}
