"""What a server costs: processor seconds and memory, all of its processes together, the dead ones included.

A Gauge puts a server into a control group of its own where the machine lets us (version 1 or 2 of cgroups, as root).
Where not, it adds up the processes below the one that was started: children that have ended count as far as their
parents waited for them, and `exact` is false.
"""
import os
import sys

GROUPS = [("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")]
TICK = os.sysconf("SC_CLK_TCK")


class Gauge:
    """The costs of one server."""

    def __init__(self, name):
        self.pid = None
        self.group = self.usage = None
        for root, usage in GROUPS:
            group = os.path.join(root, f"onionskin-bench-{os.getpid()}-{name}")
            try:
                os.mkdir(group)
            except OSError:
                continue
            if os.path.exists(os.path.join(group, usage)):
                self.group, self.usage = group, os.path.join(group, usage)
                break
            os.rmdir(group)

    @property
    def exact(self):
        return self.group is not None

    def wrapper(self):
        """The command to start the server through, so that it and all its children are counted."""
        if not self.group:
            return []
        return ["/bin/sh", "-c", f'echo $$ >"{self.group}/cgroup.procs" && exec "$@"', "sh"]

    def pids(self):
        if self.group:
            with open(os.path.join(self.group, "cgroup.procs")) as procs:
                return [int(line) for line in procs]
        return tree(self.pid) if self.pid and os.path.exists(f"/proc/{self.pid}") else []

    def cpu(self):
        """Seconds since the server was started."""
        if self.group:
            with open(self.usage) as usage:
                text = usage.read()
            if "usage_usec" in text:
                return int(text.split()[1]) / 1e6
            return int(text) / 1e9
        return sum(ticks(pid) for pid in self.pids()) / TICK

    def memory(self):
        """Bytes: the proportional set sizes of all processes, so that shared pages count once."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as lines:
                    total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            except OSError:
                pass
        return total

    def remove(self):
        """Forgets the group; the server must have ended."""
        if self.group:
            try:
                os.rmdir(self.group)
            except OSError:
                print(f"bench: {self.group} still has processes", file=sys.stderr)
            self.group = None


def tree(pid):
    """The process and all below it."""
    found = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            for child in children.read().split():
                found += tree(int(child))
    except OSError:
        pass
    return found


def ticks(pid):
    """Processor time of a process and of the children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:15])
    except OSError:
        return 0


def machine_cpu():
    """Processor seconds that the whole machine has worked."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICK
