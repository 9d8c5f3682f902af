"""Hosts for test-fleet: each a booted Debian of its own (systemd-nspawn) over one shared root, with its own address, name,
machine-id, /etc and /var, on one switch. Of this machine they share the kernel, its /proc/stat and its clock."""

import itertools
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What is on every host before Starling comes; curl and jq are what the pages of docs/operations use.
PACKAGES = "systemd systemd-sysv dbus procps curl jq"
# Where systemd-nspawn has a folder for each of its containers, and leaves it when that is killed.
PROPAGATED = Path("/run/systemd/nspawn/propagate")
# Each service manager takes five; Linux allows 128 for all of a user by default.
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES_WANTED = 1024


class Failed(Exception):
    """A command, or a wait."""


def sh(command, **more):
    """Runs a command on this machine."""
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    if done.returncode != 0:
        raise Failed(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(what, seconds, condition):
    """Waits until `condition` gives something true; what it says or raises last is in the error."""
    end = time.monotonic() + seconds
    while True:
        try:
            last = condition()
            if last:
                return last
        except Failed as error:
            last = error
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}; last: {last}")
        time.sleep(0.5)


def together(work, hosts, at_once=2):
    """Does `work` for each of some hosts, a few at once: this machine has few processors."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(work, hosts))


def bare_root(cache, mirror, folder):
    """The root of every host, from a file of an earlier run where there is one."""
    booted = cache.with_name(cache.stem + "-booted.tar")
    folder.mkdir()
    if not booted.exists():
        if not cache.exists():
            sh(f"debootstrap --variant=minbase bookworm {folder}/made {mirror}")
            sh(f"tar -C {folder}/made -cf {cache}.new . && mv {cache}.new {cache} && rm -rf {folder}/made")
        sh(f"tar -C {folder} -xf {cache} && cp /etc/resolv.conf {folder}/etc/")
        sh(f"printf '#!/bin/sh\\nexit 101\\n' >{folder}/usr/sbin/policy-rc.d && chmod +x {folder}/usr/sbin/policy-rc.d")
        install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {PACKAGES}"
        sh(f"chroot {folder} env DEBIAN_FRONTEND=noninteractive sh -c '{install}'")
        sh(f"rm {folder}/usr/sbin/policy-rc.d && tar -C {folder} -cf {booted}.new . && mv {booted}.new {booted}")
    else:
        sh(f"tar -C {folder} -xf {booted}")


def first_process(nspawn):
    """The process that is number 1 in its host."""
    for child in sh(f"ps -o pid= --ppid {nspawn} || true").split():
        try:
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:
            continue
        if any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.split("\n")):
            return int(child)
    return None


# Where a person works on each host.
WORK = "/srv/operator"


class Host:
    """One of them."""

    def __init__(self, name, address, root):
        self.name, self.address, self.root = name, address, root
        self.space = None
        self.nspawn = None
        self.leader = None

    def path(self, inside):
        """A file of it, seen from this machine."""
        return self.root / inside.lstrip("/")

    def try_run(self, command, timeout=180):
        """Runs a command on it as root; what became of it."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        enter = ["nsenter", "--target", str(self.leader), *spaces, "--root", "--wd"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": WORK, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(
            [*enter, "sh", "-ec", f"cd {WORK}; {command}"],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=timeout,
        )

    def run(self, command, timeout=180):
        """Runs a command on it as root; its output. It must end with 0."""
        done = self.try_run(command, timeout)
        if done.returncode != 0:
            raise Failed(f"{self.name}: {command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def write(self, inside, text):
        """Writes a file, as an editor would."""
        self.path(inside).write_text(text)


class Fleet:
    """All of them; `close` leaves nothing behind."""

    def __init__(self, work, root, packages):
        """`packages` is a folder that every host has as /packages."""
        self.work, self.lower, self.hosts, self.names = work, [root], {}, {}
        self.prefix, self.ports = f"st{os.getpid()}", itertools.count()
        site = work / "site"
        (site / "packages").parent.mkdir()
        shutil.copytree(packages, site / "packages")
        self.lower.insert(0, site)
        self.switch = f"{self.prefix}-switch"
        self.instances = int(INSTANCES.read_text())
        INSTANCES.write_text(f"{max(self.instances, INSTANCES_WANTED)}\n")
        sh(f"ip netns add {self.switch}; ip -n {self.switch} link add br0 type bridge; ip -n {self.switch} link set br0 up")

    def boot(self, name, address, hostname=None):
        """A new host, booted; `hostname` where it is not `name`."""
        folder = self.work / "hosts" / name
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        host = Host(name, address, folder / "root")
        self.hosts[name] = host
        lower = ":".join(str(one) for one in self.lower)
        sh(f"mount -t overlay overlay -o lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work {host.root}")
        hostname = hostname or name
        host.write("/etc/hostname", f"{hostname}\n")
        host.write("/etc/machine-id", os.urandom(16).hex() + "\n")
        self.names[hostname] = address
        self._write_names(host)
        host.path(WORK).mkdir()
        host.space, link = f"{self.prefix}-{name}", f"port{next(self.ports)}"
        sh(
            f"ip netns add {host.space}; ip link add {link} netns {self.switch} type veth peer name eth0 netns {host.space};"
            f"ip -n {self.switch} link set {link} master br0 up; ip -n {host.space} link set lo up;"
            f"ip -n {host.space} addr add {address}/16 dev eth0; ip -n {host.space} link set eth0 up"
        )
        # Without a registration at a manager of this machine, which need not have one.
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--machine={host.space}", f"--directory={host.root}"]
        command.append(f"--network-namespace-path=/run/netns/{host.space}")
        console = open(folder / "console", "wb")
        host.nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        console.close()
        host.leader = until(f"{name} boots", 60, lambda: first_process(host.nspawn.pid) or host.nspawn.poll() is not None)
        if host.nspawn.poll() is not None:
            raise Failed(f"{name} did not boot: {(folder / 'console').read_text(errors='replace')[-2000:]}")
        states = ("running", "degraded")
        until(f"{name} is up", 90, lambda: host.try_run("systemctl is-system-running").stdout.strip() in states)
        return host

    def _write_names(self, host):
        lines = [f"{address} {name} {name}.example" for name, address in list(self.names.items())]
        host.write("/etc/hosts", "\n".join(["127.0.0.1 localhost", *lines]) + "\n")

    def publish_names(self):
        """What a name server would do: every host knows the addresses of all."""
        for host in self.hosts.values():
            self._write_names(host)

    def copy(self, source, path, target, to):
        """A file or folder of one host onto another, as scp would; both from where a person works."""
        sh(f"cp -r {source.path(f'{WORK}/{path}')} {target.path(f'{WORK}/{to}')}")

    def lose(self, name):
        """The host is gone at once, with its disk."""
        host = self.hosts.pop(name)
        # With its first process all others end, and then systemd-nspawn, which would not take them along.
        if host.nspawn and host.nspawn.poll() is None:
            leader = host.leader or first_process(host.nspawn.pid)
            os.kill(leader or host.nspawn.pid, signal.SIGKILL)
            host.nspawn.wait()
            if (PROPAGATED / host.space).exists():
                (PROPAGATED / host.space).rmdir()
        if host.space:
            subprocess.run(["ip", "netns", "del", host.space], capture_output=True)
        folder = host.root.parent
        until(f"{name} lets its disk go", 20, lambda: sh(f"umount {host.root} 2>/dev/null || ! mountpoint -q {host.root}; echo done"))
        shutil.rmtree(folder, ignore_errors=True)

    def close(self):
        """Ends all of them."""
        for name in list(self.hosts):
            try:
                self.lose(name)
            except (Failed, OSError) as error:
                print(f"{name} is not taken down: {error}")
        subprocess.run(["ip", "netns", "del", self.switch], capture_output=True)
        INSTANCES.write_text(f"{self.instances}\n")
