"""A holder under load: how fast its drops take and give letters, how soon it is up, and what it costs, with a full store
beside an empty one.

The store is filled by examples/holder.rs. Everything else goes the way of a peer: by sessions with the drops, through
the memory network's hub, with tokens and proofs as a depositor and a guest would show them.
"""
import concurrent.futures
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time

import nodes
import peers
from gauge import Gauge

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "tests", "hostile"))
import proof_cases  # noqa: E402
import world  # noqa: E402

KIB = 1024
CLASS, EPOCH_SECS = 2, 28 * 86_400
CLIENTS = 8
HELLO = "depositor.invalid"
NOBODY = world.STRANGER


class Guest:
    """A mailbox and its keys: one line of what examples/holder.rs prints."""

    def __init__(self, line):
        fields = json.loads(line)
        self.mailbox, self.drop = fields["mailbox"], fields["drop"]
        self.key = bytes.fromhex(fields["key"])
        self.collector = proof_cases.Key(bytes.fromhex(fields["collector"]))

    def token(self):
        """A token that was never seen, in hexadecimal digits."""
        nonce, epoch = os.urandom(16), int(time.time()) // EPOCH_SECS
        tail = epoch.to_bytes(4, "big") + bytes([CLASS])
        said = b"onionskin/1 deposit token\0" + proof_cases.address_key(self.drop) + bytes.fromhex(self.mailbox)
        mac = hmac.new(self.key, said + tail + nonce, hashlib.sha256).digest()[:16]
        return (nonce + tail + mac).hex()


class Drops:
    """The way to one drop."""

    def __init__(self, hub_socket, host):
        self.hub_socket, self.host = hub_socket, host
        self.proving_secs = 0.0  # what this side took to make its proofs, which says nothing of the node

    def session(self, timeout=30):
        """A session that has been greeted; and its cookie."""
        talk = world.Talk(world.Hub(self.hub_socket, NOBODY, self.host, timeout))
        talk.expect(220)
        _, text = talk.say(f"EHLO {HELLO}\r\n", 250)
        return talk, bytes.fromhex(text.split("ONIONSKIN 1 ")[1].split()[0])

    def deposit(self, guest, sealed, token=None, expect=250):
        """One letter in a session of its own, as a depositor's node leaves it."""
        talk, _ = self.session()
        with talk:
            self.leave(talk, guest, sealed, token or guest.token(), expect)
            talk.say("QUIT\r\n", 221)

    @staticmethod
    def leave(talk, guest, sealed, token, expect=250):
        name = hashlib.sha256(sealed).hexdigest()[:32]
        talk.send(f"MAIL FROM:<> SIZE={len(sealed)} BODY=SEALED KEY=0123456789abcdef LETTER={name} TOKEN={token}\r\n"
                  f"RCPT TO:<m{guest.mailbox}@{guest.drop}>\r\nBDAT {len(sealed)} LAST\r\n".encode() + sealed)
        [talk.expect(250), talk.expect(250)]
        return talk.expect(expect)

    def collecting(self, guest):
        talk, cookie = self.session()
        begun = time.monotonic()
        proof = proof_cases.proof(self, guest.collector, cookie)
        self.proving_secs += time.monotonic() - begun
        talk.say(proof, 235)
        return talk

    def collect(self, guest, count, wanted=None):
        """Fetches and drops so many letters, the oldest first, as a guest's node does: one stretch after another, a
        list at a time. Gives how many it got. Fails if `wanted`, if it is said, is not among them."""
        got, after, found = 0, "", wanted is None
        with self.collecting(guest) as talk:
            while got < count:
                _, text = talk.say(f"HELD{after}\r\n", 250)
                *lines, end = text.split("\n")
                listed = [line.split()[1:3] for line in lines][:count - got]
                for name, size in listed:
                    found |= take(talk, name, int(size)) == wanted
                for at in range(0, len(listed), 12):
                    talk.say("DROP " + " ".join(name for name, _ in listed[at:at + 12]) + "\r\n", 250)
                got += len(listed)
                if "More" not in end or not listed:
                    break
                after = f" {listed[-1][0]}"
            talk.say("QUIT\r\n", 221)
        if not found:
            raise nodes.Failed("a letter that was left is not held")
        return got


def take(talk, name, size):
    """The whole of one letter."""
    at, parts = 0, []
    while at < size:
        talk.send(f"TAKE {name} {at} 262144\r\n")
        _, text = talk.expect(250)
        length = int(text.split()[1])
        if not length:
            raise nodes.Failed(f"the letter ends at {at} of {size}")
        parts.append(talk.exactly(length))
        at += length
    return b"".join(parts)


class Holder(peers.Ours):
    """A node that holds; its drops are what is measured."""

    def __init__(self, work, args, mailboxes, letters):
        super().__init__(work, args.binary, args.hub)
        begun = time.monotonic()
        filled = subprocess.run([args.filler, self.data, str(mailboxes), str(letters), str(4 * KIB)],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if filled.returncode != 0:
            raise nodes.Failed("examples/holder.rs failed")
        self.fill_secs = time.monotonic() - begun
        self.guests = [Guest(line) for line in filled.stdout.splitlines()]
        self.drops = {guest.drop: Drops(self.network, guest.drop) for guest in self.guests}

    def start_cold(self):
        """Starts it with nothing of its files in the page cache; gives the seconds until IMAP greets, and until every
        drop does."""
        for name in os.listdir(self.data):
            path = os.path.join(self.data, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        begun = time.monotonic()
        faces = self.start()
        for drop in self.drops.values():
            nodes.wait_until("the drop greets", 60, lambda drop=drop: self.greets(drop), pause=0.01)
        return faces, time.monotonic() - begun

    @staticmethod
    def greets(drop):
        try:
            drop.session(2)[0].stream.close()
            return True
        except (nodes.Failed, OSError):
            return False

    def kill(self):
        for pid in self.gauge.pids():
            os.kill(pid, 9)
        self.process.wait()
        self.gauge.remove()
        self.process = None

    def files_mb(self):
        """Its database and its segments, in MB."""
        sizes = {"database": 0, "segments": 0}
        for name in os.listdir(self.data):
            kind = "database" if name == "mail.db" else "segments"
            sizes[kind] += os.path.getsize(os.path.join(self.data, name)) / 1e6
        return sizes

    def peak_mb(self):
        return sum(world.Meter(pid).peak() for pid in self.gauge.pids())


def spread(work, jobs):
    """Does the jobs with CLIENTS at once; gives the sum and the seconds."""
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        total = sum(pool.map(work, jobs))
    return total, time.monotonic() - begun


def loads(holder, count):
    """Deposits and then collects so many letters of 4 KiB; the figures of both."""
    letters = [os.urandom(4 * KIB) for _ in range(count)]
    found = {}

    def leave(job):
        number, sealed = job
        guest = holder.guests[number % len(holder.guests)]
        holder.drops[guest.drop].deposit(guest, sealed)
        return 1

    def fetch(guest):
        return holder.drops[guest.drop].collect(guest, count // CLIENTS)

    for name, work, jobs in (("deposit", leave, list(enumerate(letters))), ("collect", fetch, holder.guests[:CLIENTS])):
        cpu = holder.gauge.cpu()
        done, took = spread(work, jobs)
        if done != count:
            raise nodes.Failed(f"{name}: {done} letters of {count}")
        found[name] = {"rate": done / took, "cpu_1000": (holder.gauge.cpu() - cpu) * 1000 / done}
    return found


def measure_one(work, args, mailboxes, letters, count):
    holder = Holder(work, args, mailboxes, letters)
    try:
        found = {"mailboxes": mailboxes, "letters": mailboxes * letters, "fill_s": holder.fill_secs}
        found["faces_s"], found["start_s"] = holder.start_cold()
        time.sleep(1)
        found["rss_mb"] = holder.gauge.memory() / 1e6
        found.update(loads(holder, count))
        found["peak_mb"] = holder.peak_mb()
        holder.kill()
        _, found["again_s"] = holder.start_cold()
        found.update(holder.files_mb())
        return found
    finally:
        holder.end()


def measure(args, work):
    """{"empty": …, "full": …}"""
    mailboxes, letters = (100, 100) if args.quick else (args.mailboxes, 1000)
    count = 800 if args.quick else 4000
    found = {}
    # As many letters are fetched from as many mailboxes.
    for name, given in (("empty", (CLIENTS, 0)), ("full", (mailboxes, letters))):
        folder = os.path.join(work, name)
        os.mkdir(folder)
        found[name] = measure_one(folder, args, *given, count)
    return found


def show(found):
    empty, full = found["empty"], found["full"]
    print(f"\nA holder: {full['letters']:,} letters of 4 KiB in {full['mailboxes']:,} mailboxes (filled in "
          f"{full['fill_s']:.0f} s; database {full['database']:.0f} MB, letters {full['segments']:.0f} MB) beside an "
          f"empty one; {CLIENTS} clients at once, a session for each deposit")
    rows = [("start to IMAP's greeting, cold", "s", lambda row: row["faces_s"]),
            ("start to the last drop's greeting, cold", "s", lambda row: row["start_s"]),
            ("the same after kill -9", "s", lambda row: row["again_s"]),
            ("memory when idle", "MB", lambda row: row["rss_mb"]),
            ("peak of resident memory", "MB", lambda row: row["peak_mb"])]
    for name in ("deposit", "collect"):
        rows += [(f"letters {name}ed", "/s", lambda row, name=name: row[name]["rate"]),
                 ("  processor seconds per 1,000", "s", lambda row, name=name: row[name]["cpu_1000"])]
    print(f"{'':42} {'empty':>10} {'full':>10} {'full to empty':>14}")
    for text, unit, value in rows:
        one, other = value(empty), value(full)
        print(f"{text:42} {one:8.3g} {unit:2} {other:7.3g} {unit:2} {other / one if one else 0:11.2f}×")
