"""What test-fleet holds against the cluster: of every second which nodes are in it, that nothing is in it twice, that its
sums are those of its entries, and that all aggregators show the same. Asked by `starling ledger`, as an operator would."""

import json
import time


class Audit:
    """All seconds since the first that had every node."""

    def __init__(self, ask, nodes):
        """`ask` runs a command line where the operator is, and gives its output whatever the exit code."""
        self.ask, self.nodes = ask, sorted(nodes)
        self.first = None
        self.seconds = {}  # tick: {aggregator: line of `starling ledger --json`}
        self.excused = {name: [] for name in nodes}  # [(from, to)] Unix seconds in which its daemon was restarted
        self.gaps = []  # seconds that each restart of a daemon cost

    def begin(self):
        """From the newest second on every node must be there."""
        self.first = int(time.time()) - 3

    def restarted(self, name, began, ended):
        """The daemon of a node was stopped and started between two moments of this machine's clock."""
        self.excused[name].append((int(began), int(ended) + 1))

    def look(self):
        """Takes in what is kept of all seconds up to now: what was looked at before counts no more, this is later."""
        last = int(time.time()) - 4
        first = max(self.first, last - 890)
        for line in self.ask(f"starling ledger --json --from {first} --to {last}").splitlines():
            said = json.loads(line)
            self.seconds.setdefault(said["tick"], {})[said["aggregator"]] = said

    def judge(self, aggregators):
        """Prints every second that is not whole and why; what must not be, as a list of texts."""
        wrong, missed = [], {name: set() for name in self.nodes}
        last = max(self.seconds)
        for tick in range(self.first, last + 1):
            said = self.seconds.get(tick)
            if not said:
                wrong.append(f"{tick}: nobody was asked about it")
                continue
            wrong += [f"{tick}: {fault}" for fault in faults(said, aggregators)]
            lines = [line for line in said.values() if "error" not in line]
            if not lines:
                continue
            line = lines[0]
            if line["nodesReporting"] is None:  # nothing is held of this second
                line = {"nodesReporting": 0, "framesCounted": 0, "nodesMissing": self.nodes}
            if line["nodesReporting"] > len(self.nodes) or line["framesCounted"] > line["nodesReporting"]:
                wrong.append(f"{tick}: {line['framesCounted']} frames of {line['nodesReporting']} nodes: more than there are")
            missing = line["nodesMissing"]
            if line["nodesReporting"] + len(missing) != len(self.nodes):
                wrong.append(f"{tick}: {line['nodesReporting']} nodes, missing {missing}: that is not all of {len(self.nodes)}")
            for name in missing:
                missed[name].add(tick)
            if missing:
                why = [name for name in missing if not self.is_excused(name, tick)]
                print(f"  {tick}: lacks {' '.join(missing)}: " + (f"NOT restarted: {' '.join(why)}" if why else "restarted then"))
                wrong += [f"{tick}: {name} is missing, and was not restarted then" for name in why]
        for name, spans in self.excused.items():
            for began, ended in spans:
                self.gaps.append(len([tick for tick in missed[name] if began <= tick <= ended]))
        whole = last + 1 - self.first - len(set().union(*missed.values()))
        print(f"  {last + 1 - self.first} seconds, {whole} with all {len(self.nodes)} nodes; a restart cost {spread(self.gaps)}")
        return wrong

    def is_excused(self, name, tick):
        return any(began <= tick <= ended for began, ended in self.excused[name])


def faults(said, aggregators):
    """What must not be of one second, as its aggregators tell it."""
    held = {name: line for name, line in said.items() if "error" not in line}
    # One that was replaced, or is asked while it starts, is asked again later; at the end all must have answered.
    wrong = [f"{name} says nothing: {said.get(name, {}).get('error', 'it was not there')}" for name in aggregators if name not in held]
    for name, line in held.items():
        if line["balanced"] is False:
            wrong.append(f"{name} is not balanced: {line['detail']}")
        if line["overlaps"] or line["forks"]:
            wrong.append(f"{name}: {line['overlaps']} overlaps, {line['forks']} forks")
    if len({line["viewHash"] for line in held.values()}) > 1:
        wrong.append("they differ: " + ", ".join(f"{name} {line['viewHash']}" for name, line in held.items()))
    return wrong


def spread(numbers):
    """Of seconds: how many had how many."""
    if not numbers:
        return "nothing (there was none)"
    counts = {number: numbers.count(number) for number in sorted(set(numbers))}
    return ", ".join(f"{number} s {count} times" for number, count in counts.items())
