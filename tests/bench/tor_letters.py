"""How long letters take over Tor, beside a bare stream.

  scripts/bench tor [--letters N] [--bulk N] [--release] [--binary FILE --examples FOLDER]

tor: on the private Tor network, how long a letter takes from submission (the moment before MAIL FROM, on an open
session) until the peer's IMAP server says in IDLE that it is there: over a warm session, and over a new one with new
circuits (the author's node is killed and started before each letter, and gets it as soon as letters can leave). Beside
it, in the same run, what the bare stream takes: connect, and one round trip. Ratios are letter to bare stream.
Bulk: letters of 16 MiB from their 250 at submission until they are visible, on a kept session, and as many bytes over
a bare stream until one byte says that they are there; the throughput, and its ratio.
  --letters N   so many of each kind (50; 0: none)
  --bulk N      so many large ones, and as many bare streams (4; 0: none)
  --release     build with optimisation (slower to build)
  --binary FILE --examples FOLDER   measure these; build nothing
"""
import argparse
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import nodes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTNET = os.path.join(ROOT, "scripts", "testnet")
ARRIVE_SECS = 120
REACH_SECS = 180
BULK_BYTES = 16 * 1024 * 1024
BULK_SECS = 900
BODY = "A short letter, as most are.\r\n" * 30


class Watch:
    """A raw IMAP session in IDLE: imaplib of Python 3.11 has none."""

    def __init__(self, node):
        self.stream = socket.create_connection(("127.0.0.1", node.imap), timeout=ARRIVE_SECS)
        self.lines = self.stream.makefile("rb")
        self.lines.readline()
        self.command(f'LOGIN "{node.user}" "{node.password}"')
        self.there = next(int(line.split()[1]) for line in self.command("SELECT INBOX") if b" EXISTS" in line)
        self.stream.sendall(b"i IDLE\r\n")
        while not self.lines.readline().startswith(b"+"):
            pass

    def command(self, text):
        self.stream.sendall(b"c " + text.encode() + b"\r\n")
        answers = []
        while not (line := self.lines.readline()).startswith(b"c "):
            if not line:
                raise nodes.Failed("the IMAP session broke")
            answers.append(line)
        if not line.startswith(b"c OK"):
            raise nodes.Failed(f"IMAP: {text.split()[0]} was answered {line.decode().strip()}")
        return answers

    def until(self, count):
        """Waits until the mailbox has so many letters; gives the moment at which it was said."""
        while self.there < count:
            line = self.lines.readline()
            if not line:
                raise nodes.Failed("the IMAP session broke")
            if b" EXISTS" in line:
                self.there = int(line.split()[1])
        return time.monotonic()


def letter(ann, bob, watch, session, number):
    """Sends one letter; gives (ms until 250, ms until visible)."""
    text = f"From: {ann.address}\r\nTo: {bob.address}\r\nSubject: letter {number}\r\n\r\n{BODY}"
    wanted = watch.there + 1
    begun = time.monotonic()
    session.sendmail(ann.address, [bob.address], text)
    accepted = time.monotonic()
    return (accepted - begun) * 1e3, (watch.until(wanted) - begun) * 1e3


def stage(node):
    """Asks the node itself, quicker than a new process of the command line could."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(os.path.join(node.data_dir, "control.sock"))
        door.sendall(b'{"do":"status"}\n')
        return json.loads(door.makefile("rb").readline())["ok"]["identities"][0]["stage"]


def warm_letters(ann, bob, count):
    watch, session = Watch(bob), ann.submission()
    letter(ann, bob, watch, session, "that opens the session")
    return [letter(ann, bob, watch, session, number) for number in range(count)]


def new_session_letters(ann, bob, count):
    """A letter right after the start of its author's node, before that greets its peers by itself."""
    watch, measured, late = Watch(bob), [], 0
    while len(measured) < count:
        ann.kill()
        ann.start()
        session = ann.submission()
        nodes.wait_until("letters can leave", REACH_SECS, lambda: stage(ann).startswith(("letters can", "reach")), 0.01)
        soon_enough = stage(ann) != "reachable"
        taken = letter(ann, bob, watch, session, f"on a new session {len(measured)}")
        if soon_enough:
            measured.append(taken)
        else:
            late += 1  # its session was begun by the greeting
        if late > count:
            raise nodes.Failed("the node is reachable before a letter can be given to it: nothing to measure")
        nodes.wait_until("the node is at rest", REACH_SECS, lambda: stage(ann) == "reachable", 0.05)
    return measured


def bare(examples, work, network, address, count, mode):
    """[(connect, round trip of a few bytes, round trip of a letter's bytes)] of the stream alone, in ms."""
    command = [os.path.join(examples, "tor_stream"), os.path.join(work, f"stream-{mode}"), address, network, str(count),
               mode]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=600 + 20 * count)
    if done.returncode != 0:
        raise nodes.Failed(f"tor_stream ended {done.returncode}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["connect_ms"], row["round_trip_ms"], row["letter_trip_ms"]) for row in rows]


def bulk_letters(ann, bob, count):
    """Seconds from 250 until visible of large letters."""
    watch, session = Watch(bob), ann.submission(timeout=BULK_SECS)
    watch.stream.settimeout(BULK_SECS)
    letter(ann, bob, watch, session, "that opens the session")
    line = os.urandom(37).hex() + "\r\n"
    body = line * (BULK_BYTES // len(line))
    took = []
    for number in range(count):
        text = f"From: {ann.address}\r\nTo: {bob.address}\r\nSubject: large {number}\r\n\r\n{body}"
        wanted = watch.there + 1
        session.sendmail(ann.address, [bob.address], text)
        accepted = time.monotonic()
        took.append(watch.until(wanted) - accepted)
    return took


def bare_bulk(args, work, network, address, count):
    """Seconds for as many bytes over a bare stream."""
    command = [os.path.join(args.examples, "tor_stream"), os.path.join(work, "stream-bulk"), address, network,
               str(count), f"bulk={BULK_BYTES}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=BULK_SECS * (count + 1))
    if done.returncode != 0:
        raise nodes.Failed(f"tor_stream ended {done.returncode}")
    return [json.loads(line)["bulk_ms"] / 1e3 for line in done.stdout.splitlines()]


def bulk(args, ann, bob, work, network, address):
    """By turns, so that the machine's load falls on both."""
    bare_took, letters_took = [], []
    for _ in range(args.bulk):
        bare_took += bare_bulk(args, work, network, address, 1)
        letters_took += bulk_letters(ann, bob, 1)
    return bare_took, letters_took


def bulk_table(bare_took, letters_took):
    mib = BULK_BYTES / 1024 / 1024
    rates = [sorted(mib / seconds for seconds in took) for took in (bare_took, letters_took)]
    middle = [percentile(rate, 0.5) for rate in rates]
    for text, rate in zip(("bare stream", "letter"), rates):
        print(f"{text + f', {mib:.0f} MiB':52} {len(rate):4} MiB/s: {rate[0]:.2f} to {rate[-1]:.2f}, "
              f"median {percentile(rate, 0.5):.2f}")
    print(f"bulk letter to bare stream: {middle[1] / middle[0]:.2f}")


def percentile(values, share):
    """Nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def table(rows):
    """Rows: (text, values in ms, the row to compare with or None)."""
    print(f"{'':52} {'n':>4} {'p50 ms':>8} {'p95 ms':>8} {'ratio p50':>10} {'ratio p95':>10}")
    for text, values, other in rows:
        line = f"{text:52} {len(values):4} {percentile(values, 0.5):8.0f} {percentile(values, 0.95):8.0f}"
        if other:
            line += "".join(f" {percentile(values, share) / percentile(other, share):10.1f}" for share in (0.5, 0.95))
        print(line)


def inside(args):
    network = os.path.join(os.environ["ONIONSKIN_TESTNET_DIR"], "network.json")
    work = tempfile.mkdtemp(prefix="onionskin-bench-")
    ann, bob = (nodes.Node(name, args.binary, os.path.join(work, name), network) for name in ("ann", "bob"))
    echo = subprocess.Popen([os.path.join(args.examples, "tor_echo"), "host", os.path.join(work, "echo"), network],
                            stdout=subprocess.PIPE)
    try:
        address = echo.stdout.readline().decode().strip()
        for node in (ann, bob):
            node.init()
            node.start()
        nodes.acquaint(ann, bob)
        for node in (ann, bob):
            nodes.wait_until(f"{node.name} is reachable", REACH_SECS, lambda node=node: node.status()["reachable"])
        bulk_took = bulk(args, ann, bob, work, network, address) if args.bulk else None
        if bulk_took:
            bulk_table(*bulk_took)
        if not args.letters:
            return 0
        half = args.letters // 2
        # The machine's load changes: the stream is measured before and after the letters that it is compared with.
        same = bare(args.examples, work, network, address, half, "same")
        warm = warm_letters(ann, bob, args.letters)
        same += bare(args.examples, work, network, address, args.letters - half, "same")
        print("  warm sessions measured", flush=True)
        new = bare(args.examples, work, network, address, half, "new")
        cold = new_session_letters(ann, bob, args.letters)
        new += bare(args.examples, work, network, address, args.letters - half, "new")
    finally:
        for node in (ann, bob):
            node.kill()
        echo.kill()
        echo.wait()
        shutil.rmtree(work, ignore_errors=True)
    same_trip, same_all = [row[1] for row in same], [row[0] + row[1] for row in same]
    letter_trip, new_all = [row[2] for row in same], [row[0] + row[1] for row in new]
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    table([("bare stream: round trip of 5 bytes", same_trip, None),
           ("bare stream: round trip of 1300 bytes (a letter's)", letter_trip, None),
           ("bare stream, open circuit: connect + round trip", same_all, None),
           ("bare stream, new isolation: connect + round trip", new_all, None),
           ("letter: submission until 250 (on the disk)", [taken[0] for taken in warm], None),
           ("letter, warm session: until visible; to 5 bytes", [taken[1] for taken in warm], same_trip),
           ("                                     to 1300 bytes", [taken[1] for taken in warm], letter_trip),
           ("letter, new session: until visible; to new isolation", [taken[1] for taken in cold], new_all)])
    return 0


def outside(args):
    if not args.binary:
        profile = ["--release"] if args.release else []
        target = nodes.build(ROOT, profile, "--bin", "onionskin")
        nodes.build(ROOT, profile, "--package", "onion", "--features", "tor", "--example", "tor_echo", "--example",
                    "tor_stream")
        built = os.path.join(target, "release" if args.release else "debug")
        args.binary, args.examples = os.path.join(built, "onionskin"), os.path.join(built, "examples")
    was_up = subprocess.run([TESTNET, "status"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if subprocess.run([TESTNET, "up"]).returncode != 0:
        raise nodes.Failed("scripts/testnet up failed")
    try:
        bench = os.path.join(ROOT, "scripts", "bench")
        return subprocess.run([TESTNET, "exec", sys.executable, bench, "tor", "--inside", "--letters",
                               str(args.letters), "--bulk", str(args.bulk), "--binary", os.path.abspath(args.binary),
                               "--examples", os.path.abspath(args.examples)]).returncode
    finally:
        if not was_up:
            subprocess.run([TESTNET, "down"])


def run():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("what", choices=["tor"])
    parse.add_argument("--letters", type=int, default=50, metavar="N")
    parse.add_argument("--bulk", type=int, default=4, metavar="N")
    parse.add_argument("--release", action="store_true")
    parse.add_argument("--binary", metavar="FILE")
    parse.add_argument("--examples", metavar="FOLDER")
    parse.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parse.parse_args()
    if args.letters == 1 or min(args.letters, args.bulk) < 0 or bool(args.binary) != bool(args.examples):
        parse.error("at least two letters, or none; --binary and --examples go together")
    return inside(args) if args.inside else outside(args)

