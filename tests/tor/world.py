"""The pair of nodes that the tests on Tor share, and what they do with it: write, wait, measure.

Promises: `ready` gives every test two running, reachable nodes, whatever the test before it left behind.
Leaves what is to be shown to cases.py. Only the Python standard library is used.
"""
import email
import imaplib
import os
import re
import signal
import socket
import subprocess
import time

import leaks
import nodes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTNET = os.path.join(ROOT, "scripts", "testnet")
REACHABLE_SECS = 180  # a loaded machine; the time that a test promises is measured by the test


class World:
    """Ann and Bob, whose recovery words are known."""

    def __init__(self, binary, work, network):
        self.binary, self.work, self.network = binary, work, network
        self.pair = [nodes.Node(name, binary, os.path.join(work, name), network) for name in ("ann", "bob")]
        self.ann, self.bob = self.pair
        self.written = []  # every text that was written in a letter
        for node in self.pair:
            words = leaks.PEOPLE[node.name][1]
            node.command("init", "--name", node.name, "--recover", "--no-passphrase", input=words.encode())
            node.address = node.command("address").decode().strip()
        nodes.acquaint(*self.pair)

    def third(self, name):
        """One more node, running and reachable, for one test: whoever asks for it kills it."""
        node = nodes.Node(name, self.binary, os.path.join(self.work, name), self.network)
        node.init()
        node.start()
        self.reachable(node, REACHABLE_SECS)
        return node

    def ready(self):
        """Brings up what is not up: the network, the nodes, and the way between them."""
        testnet("thaw")
        testnet("revive")
        for node in self.pair:
            if node.process and node.process.poll() is not None:
                node.process = None
            if not node.process:
                node.start()
        for node in self.pair:
            self.reachable(node, REACHABLE_SECS)

    def reachable(self, node, seconds):
        """Waits until the node says that it is reachable; gives the seconds it took."""
        return nodes.wait_until(f"{node.name} is reachable", seconds, lambda: node.status()["reachable"])[1]

    def write(self, source, target, subject, body):
        """Submits a letter; after this it is durable in the queue."""
        self.written += [subject, body[:60]]
        session = source.submission(timeout=300)
        letter = (f"From: {source.address}\r\nTo: {target.address}\r\nSubject: {subject}\r\n\r\n{body}\r\n")
        session.sendmail(source.address, [target.address], letter)
        session.quit()

    def end(self):
        for node in self.pair:
            node.kill()
        testnet("thaw")
        testnet("revive")


def testnet(*arguments):
    """Runs scripts/testnet on the network around us."""
    done = subprocess.run([TESTNET, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise nodes.Failed(f"testnet {' '.join(arguments)}: {done.stdout}{done.stderr}")


def fresh(what):
    """A text that occurs nowhere else."""
    return f"{what}-{os.urandom(8).hex()}"


def arrives(node, subject, seconds, pause=0.1, mailbox="INBOX"):
    """Waits until a letter of this subject is in the mailbox; gives (uid, seconds)."""
    session = node.mailbox(mailbox)

    def look():
        session.noop()
        _, found = session.uid("SEARCH", "SUBJECT", f'"{subject}"')
        uids = (found[0] or b"").split()
        if len(uids) > 1:
            raise nodes.Failed(f"the letter is there {len(uids)} times")
        return uids[0].decode() if uids else None

    try:
        return nodes.wait_until(f"the letter arrives at {node.name}", seconds, look, pause)
    finally:
        try:
            session.logout()
        except (OSError, imaplib.IMAP4.error):
            pass


def fetch(node, uid, mailbox="INBOX"):
    """A letter's bytes."""
    session = node.mailbox(mailbox)
    kind, data = session.uid("FETCH", uid, "(BODY.PEEK[])")
    session.logout()
    if kind != "OK" or not isinstance(data[0], tuple):
        raise nodes.Failed(f"FETCH was answered {kind}")
    return data[0][1]


def flags_of(node, uid, mailbox="INBOX"):
    """A letter's flags and keywords."""
    session = node.mailbox(mailbox)
    kind, data = session.uid("FETCH", uid, "(FLAGS)")
    session.logout()
    if kind != "OK" or not data[0]:
        raise nodes.Failed(f"FETCH of flags was answered {kind}")
    return [flag.decode() for flag in imaplib.ParseFlags(data[0])]


def is_unverified(node, uid, letter):
    """What is filed in Requests of a writer who proves nothing says so, in a header and by keywords."""
    verdicts = nodes.field_of(letter, "X-Onionskin-Verdict")
    assert verdicts == ["unverified; nothing proves who wrote this"], f"the verdicts are {verdicts}"
    flags = flags_of(node, uid, "Requests")
    assert {"$Unverified", "$Unsealed"} <= set(flags), f"the flags are {flags}"


def body_of(letter):
    """What stands after the header."""
    return letter.partition(b"\r\n\r\n")[2]


def header_of(letter, field):
    return email.message_from_bytes(letter.partition(b"\r\n\r\n")[0])[field]


def memory(node):
    """(resident now, largest since `mark_memory`) of a node's process, in KiB."""
    with open(f"/proc/{node.process.pid}/status") as status:
        text = status.read()
    return tuple(int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1)) for field in ("VmRSS", "VmHWM"))


def mark_memory(node):
    """Lets the largest resident size begin anew (man 5 proc, clear_refs); gives the present one in KiB."""
    with open(f"/proc/{node.process.pid}/clear_refs", "w") as reset:
        reset.write("5")
    return memory(node)[0]


def processes_about(folder):
    """Living processes that name a folder in their command line, other than ours."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as line, open(f"/proc/{entry}/stat") as stat:
                if os.fsencode(folder) in line.read() and stat.read().rpartition(")")[2].split()[0] not in "ZX":
                    found.append(int(entry))
        except OSError:
            continue
    return found


class StockTor:
    """A C tor client on the network around us: the onion as a stranger with stock software finds it."""

    PORT = 19150

    def __init__(self, folder, more="", socks=""):
        os.makedirs(folder, mode=0o700)
        home = os.environ["ONIONSKIN_TESTNET_DIR"]
        with open(os.path.join(home, "relay0", "torrc")) as relay:
            authorities = "".join(line for line in relay if line.startswith("DirAuthority "))
        config = os.path.join(folder, "torrc")
        with open(config, "w") as out:
            out.write(f"TestingTorNetwork 1\nDataDirectory {folder}/data\nLog notice file {folder}/log\n"
                      f"PathsNeededToBuildCircuits 0.67\nShutdownWaitLength 0\nSocksPort 127.0.0.1:{self.PORT} {socks}\n"
                      f"{authorities}{more}")
        self.process = subprocess.Popen(["tor", "-f", config, "--hush"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def connect(self, host, port):
        """A stream to an onion, or the number of the SOCKS reply that refused it (RFC 1928, section 6)."""
        stream = socket.create_connection(("127.0.0.1", self.PORT), timeout=120)
        stream.sendall(b"\5\1\0")
        if stream.recv(2) != b"\5\0":
            raise nodes.Failed("the SOCKS port does not greet")
        stream.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
        answer = stream.recv(10)
        if answer[1:2] == b"\0":
            return stream
        stream.close()
        return answer[1] if len(answer) > 1 else -1

    def connect_when_ready(self, host, port, seconds):
        """The same, again and again until there is a stream."""
        def attempt():
            try:
                stream = self.connect(host, port)
            except OSError:
                return None
            return stream if isinstance(stream, socket.socket) else None
        return nodes.wait_until(f"port {port} answers through C tor", seconds, attempt, 0.5)[0]
