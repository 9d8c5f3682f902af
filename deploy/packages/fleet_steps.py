"""What test-fleet does to its hosts: the commands of docs/operations, page by page."""

import json
import time

from fleet_audit import Audit
from fleet_hosts import WORK, Failed, together, until

OPERATOR = "export STARLING_TLS=ann STARLING_AGGREGATOR=agg-1.example:7400"


def nobody(late):
    """For a wait: none of those is waited for any more."""
    if late:
        raise Failed(f"waited for: {' '.join(late)}")
    return True


class Run:
    """The fleet and what is known of it."""

    def __init__(self, fleet, nodes):
        self.fleet = fleet
        self.aggregators = ["agg-1", "agg-2", "agg-3"]
        self.nodes = [f"web-{i}" for i in range(1, nodes + 1)]
        self.audit = Audit(self.ask, self.nodes)

    def host(self, name):
        return self.fleet.hosts[name]

    def ask(self, command):
        """The operator's command; its output, whatever its exit code."""
        return self.host("ops").try_run(f"{OPERATOR}; {command}", 300).stdout

    def operator(self, command):
        return self.host("ops").run(f"{OPERATOR}; {command}")

    def doctor(self, name):
        """`starling doctor` ends with 0; its output."""
        found = self.host(name).try_run("starling doctor")
        if found.returncode != 0:
            raise Failed(f"{name}: starling doctor ends with {found.returncode}\n{found.stdout}{found.stderr}")
        return found.stdout

    def ready(self, name, port):
        until(f"{name} is ready", 90, lambda: self.host(name).run(f"curl -s 127.0.0.1:{port}/ready").startswith("ready"))

    def page(self, path):
        return json.loads(self.host("dash").run(f"curl -fsS 127.0.0.1:7480{path}"))

    def all_on_the_page(self):
        def all_there():
            table = self.page("/api/v1/nodes")
            reporting = [node["nodeId"] for node in table["nodes"] if node["state"] == "reporting"]
            return nobody(sorted(set(self.nodes) - set(reporting)))
        until("every node is on the page", 120, all_there)

    # 1. docs/operations/install.md

    def install(self):
        ops = self.host("ops")
        ops.run("apt install -y /packages/1/starling_*.deb")
        ops.run("starling ca init --cluster starling; starling ca issue aggregator agg-1 --host agg-1.example --signs; starling ca issue operator ann")
        self.install_aggregator("agg-1")
        first = self.host("agg-1")
        self.fleet.copy(ops, "agg-1", first, "agg-1")
        self.lay_down("agg-1")
        self.configure("agg-1", signs=True)
        self.start_aggregator("agg-1")
        self.operator("starling token create --role aggregator --uses 2 --out token-aggregators")
        self.operator(f"starling token create --role node --ttl 1d --uses {len(self.nodes)} --out token-nodes")
        self.operator("starling token create --role dashboard --out token-page")
        for name in ("agg-2", "agg-3"):
            self.install_aggregator(name)
            self.configure(name)
            self.give_token("token-aggregators", name)
            self.host(name).run("starling-aggregator join agg-1.example --token-file token-aggregators")
            self.start_aggregator(name)
        together(self.install_node, self.nodes)
        dash = self.host("dash")
        dash.run("apt install -y /packages/1/starling-dashboard_*.deb /packages/1/starling_*.deb")
        self.give_token("token-page", "dash")
        dash.run("starling-dashboard join agg-1.example --token-file token-page; systemctl restart starling-dashboard")
        self.all_on_the_page()

    def install_aggregator(self, name, release=1):
        self.host(name).run(f"apt install -y /packages/{release}/starling_*.deb /packages/{release}/starling-aggregator_*.deb")

    def lay_down(self, name):
        """packages.md, "Certificates": agg-1/ in the home of root to its place."""
        self.host(name).run(
            "install -d -m 0750 -g starling-aggregator /etc/starling/tls/aggregator /etc/starling/tls/aggregator/authority;"
            f"install -m 0640 -g starling-aggregator {name}/*.pem /etc/starling/tls/aggregator/;"
            f"install -m 0640 -g starling-aggregator {name}/authority/*.pem /etc/starling/tls/aggregator/authority/;"
            f"rm -r {name}"
        )

    def configure(self, name, signs=False):
        address = self.host(name).address
        lines = [f'cluster = "starling"\ngrpc_listen = "{address}:7400"\ngossip_listen = "{address}:7401"\n']
        if signs:
            lines += [f'tls.{key} = "/etc/starling/tls/aggregator/{key}.pem"\n' for key in ("certificate", "key", "ca")]
            lines.append('enrolment.authority = "/etc/starling/tls/aggregator/authority"\n')
        self.host(name).write("/etc/starling/aggregator.toml", "".join(lines))

    def start_aggregator(self, name):
        self.host(name).run("starling-aggregator --config /etc/starling/aggregator.toml --check-config; systemctl restart starling-aggregator")
        self.ready(name, 7402)
        self.doctor(name)

    def give_token(self, file, name):
        self.fleet.copy(self.host("ops"), file, self.host(name), file)

    def install_node(self, name):
        self.give_token("token-nodes", name)
        self.host(name).run(
            "sh /packages/1/install.sh --join agg-1.example:7400,agg-2.example:7400 --token-file token-nodes node tool"
        )

    def installed(self):
        """install.md, "Installed?", on every host; no part of the time that the installation takes."""
        self.audit.begin()
        for name in self.aggregators:
            if "link: agg-1, agg-2, agg-3: each sees and reaches the others" not in self.doctor(name):
                raise Failed(f"{name}: starling doctor says nothing of its links\n{self.doctor(name)}")
        together(self.doctor, [*self.nodes, "dash"])
        table = self.page("/api/v1/nodes")["completeness"]
        if (table["nodesReporting"], table["copies"]) != (len(self.nodes), 2):
            raise Failed(f"the page says {table}")

    # 2. docs/operations/upgrade.md

    def upgrade(self):
        for name in self.aggregators:
            self.doctor(name)
        self.host("agg-2").run("mkdir /backup; starling store snapshot --state /var/lib/starling/aggregator /backup/before")
        for name in self.aggregators:
            self.install_aggregator(name, 2)
            self.ready(name, 7402)
            self.doctor(name)
        together(self.upgrade_node, self.nodes)
        self.host("dash").run("apt install -y /packages/2/starling-dashboard_*.deb /packages/2/starling_*.deb")
        self.ready("dash", 7480)
        self.all_on_the_page()
        for name in [*self.aggregators, *self.nodes, "dash"]:
            versions = self.host(name).run("dpkg-query -W -f '${Version}\\n' 'starling*' | sort -u").split()
            if len(versions) != 1 or not versions[0].endswith("-2"):
                raise Failed(f"{name}: {versions} are installed")

    def upgrade_node(self, name):
        host = self.host(name)
        host.run("apt install -y /packages/2/starling_*.deb")
        began = time.time()
        host.run("apt install -y /packages/2/starling-node_*.deb")
        self.ready(name, 7490)
        self.audit.restarted(name, began, time.time())

    # 3. docs/operations/runbooks.md, "An aggregator is lost"

    def replace(self):
        self.host("agg-3").run("kill -9 $(systemctl show --value -p MainPID starling-aggregator)")
        self.fleet.lose("agg-3")
        until("the loss is seen", 60, lambda: "is gone, says" in self.host("agg-1").try_run("starling doctor").stdout)
        self.fleet.boot("agg-3", "10.90.0.4")
        self.fleet.publish_names()
        self.install_aggregator("agg-3", 2)
        self.operator("starling token create --role aggregator --replace --out token-replace")
        self.configure("agg-3")
        self.give_token("token-replace", "agg-3")
        self.host("agg-3").run("starling-aggregator join agg-1.example --token-file token-replace")
        self.start_aggregator("agg-3")
        whole = "^starling_aggregator_history_copies_whole_unix [1-9]"
        until("its copies are whole", 120, lambda: self.host("agg-3").try_run(f"curl -s 127.0.0.1:7402/metrics | grep '{whole}'").stdout)
        self.all_on_the_page()

    # 4. docs/operations/security.md, "A new authority"

    def rotate(self):
        ops, first = self.host("ops"), self.host("agg-1")
        ops.run("cp -r ann former; starling ca init --cluster starling --dir new-ca; cat starling-ca/ca.pem new-ca/ca.pem >both.pem; cp both.pem ann/ca.pem")
        self.trust("both.pem")
        self.everybody_trusts("both.pem")
        began = int(time.time())
        ops.run("starling ca issue aggregator agg-1 --host agg-1.example --signs --dir new-ca --out agg-1-new")
        ops.run("starling ca issue operator ann --dir new-ca; cp both.pem ann/ca.pem")
        self.fleet.copy(ops, "agg-1-new", first, "agg-1")
        first.run("rm agg-1/ca.pem")
        self.lay_down("agg-1")
        first.run("systemctl restart starling-aggregator")
        self.ready("agg-1", 7402)

        def renewed():
            listed = [json.loads(line) for line in self.operator("starling node list --json").splitlines()]
            late = [one["name"] for one in listed if not one["removedUnixS"] and one["renewedUnixS"] < began]
            return nobody(late)
        until("everybody who joined has a certificate by the new one", 180, renewed)
        self.trust("new-ca/ca.pem")
        ops.run("cp new-ca/ca.pem ann/ca.pem")
        self.everybody_trusts("new-ca/ca.pem")
        if ops.try_run("STARLING_TLS=former STARLING_AGGREGATOR=agg-2.example:7400 starling node list").returncode == 0:
            raise Failed("a certificate by the former authority is still taken")
        together(self.doctor, [*self.aggregators, *self.nodes, "dash"])
        self.all_on_the_page()

    def trust(self, file):
        self.fleet.copy(self.host("ops"), file, self.host("agg-1"), "ca.pem")
        self.host("agg-1").run("install -m 0640 -g starling-aggregator ca.pem /etc/starling/tls/aggregator/ca.pem")

    def everybody_trusts(self, file):
        wanted = self.host("ops").path(f"{WORK}/{file}").read_text()
        joined = [(name, "aggregator") for name in self.aggregators[1:]] + [(name, "node") for name in self.nodes] + [("dash", "dashboard")]

        def all_do():
            late = [name for name, program in joined if self.trusted(name, program) != wanted]
            return nobody(late)
        until(f"everybody who joined trusts {file}", 180, all_do)

    def trusted(self, name, program):
        return self.host(name).path(f"/var/lib/starling/{program}/identity/ca.pem").read_text()

    # 5. docs/operations/security.md, "Keys of gossip"

    def keys(self):
        before = self.operator("starling gossip keys list").split("\n")[1].split()[3]
        new = self.operator("starling gossip keys install").split("new key ")[1].split()[0]
        until("all open by it", 60, lambda: self.operator("starling gossip keys list").count(new) == 3)
        until("it seals", 60, lambda: self.operator(f"starling gossip keys use {new}"))
        until("the former goes", 60, lambda: self.operator(f"starling gossip keys retire {before}"))
        until("nobody has the former", 60, lambda: before not in self.operator("starling gossip keys list"))
        for name in self.aggregators:
            self.doctor(name)
        self.all_on_the_page()
