"""Asks an IMAP server what a mail program asks and says how long it took.

A raw connection that reads answers in large pieces and looks at line ends and literals only, so that what is measured
is the server. Every step works with any server (RFC 3501); LITERAL+ and MULTIAPPEND are used where offered.
"""
import re
import socket
import time

LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
HEADERS = ("From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type "
           "Reply-To")
FETCHES = {
    "FLAGS 1:*": "FETCH 1:* (FLAGS)",
    "ENVELOPE": "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
    "headers as Thunderbird asks": f"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])",
}
PIPELINE_LEN = 50
# Dovecot lets a user have ten from one address.
IDLE_CONNECTIONS = 8


class Failed(Exception):
    """The server said no."""


class Connection:
    """One logged-in connection."""

    def __init__(self, target, mailbox=None):
        self.socket = socket.create_connection(("127.0.0.1", target.imap), timeout=300)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.have, self.number, self.received = b"", 0, 0
        self.line()
        self.ask('LOGIN "%s" "%s"' % target.auth)
        self.can = b"".join(self.ask("CAPABILITY")).upper()
        self.exists = 0
        if mailbox:
            self.select(mailbox)

    def fill(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Failed("the server closed the connection")
        self.received += len(data)
        return data

    def line(self):
        while b"\n" not in self.have:
            self.have += self.fill()
        line, self.have = self.have.split(b"\n", 1)
        return line

    def tag(self):
        self.number += 1
        return b"b%d " % self.number

    def ask(self, command, keep=True):
        tag = self.tag()
        self.socket.sendall(tag + command.encode() + b"\r\n")
        return self.until(tag, keep)

    def until(self, tag, keep=True):
        """Reads to the tagged OK; gives the lines before it (with their literals)."""
        lines, have, at = [], self.have, 0
        while True:
            end = have.find(b"\n", at)
            if end < 0:
                have, at = have[at:] + self.fill(), 0
                continue
            line = have[at:end + 1]
            literal = LITERAL.search(line) if line.endswith(b"}\r\n") else None
            if literal:
                need = end + 1 + int(literal[1])
                if need > len(have):
                    parts, got = [have], len(have)
                    while got < need:
                        parts.append(self.fill())
                        got += len(parts[-1])
                    have = b"".join(parts)
                if keep:
                    lines.append(have[at:need])
                at = need
                continue
            at = end + 1
            if line.startswith(tag):
                self.have = have[at:]
                if line[len(tag):len(tag) + 2] != b"OK":
                    raise Failed(line.decode(errors="replace").strip())
                return lines
            if keep:
                lines.append(line)

    def close(self):
        self.ask("LOGOUT")
        self.socket.close()

    def select(self, mailbox):
        lines = self.ask(f"SELECT {mailbox}")
        self.exists = next(int(line.split()[1]) for line in lines if b" EXISTS" in line)

    def append(self, mailbox, letters):
        """Files letters and waits until all of them are kept."""
        head = b"APPEND %s" % mailbox.encode()
        if b"LITERAL+" not in self.can:
            for letter in letters:
                tag = self.tag()
                self.socket.sendall(tag + head + b" (\\Seen) {%d}\r\n" % len(letter))
                self.line()
                self.socket.sendall(letter + b"\r\n")
                self.until(tag, False)
            return
        if b"MULTIAPPEND" in self.can:
            tag = self.tag()
            literals = b"".join(b" (\\Seen) {%d+}\r\n" % len(letter) + letter for letter in letters)
            self.socket.sendall(tag + head + literals + b"\r\n")
            self.until(tag, False)
            return
        tags = [self.tag() for _ in letters]
        for tag, letter in zip(tags, letters):
            self.socket.sendall(tag + head + b" (\\Seen) {%d+}\r\n" % len(letter) + letter + b"\r\n")
        for tag in tags:
            self.until(tag, False)


def fill(target, mailbox, letters):
    """Files all letters, many at once."""
    connection = Connection(target)
    connection.ask(f"CREATE {mailbox}")
    for start in range(0, len(letters), PIPELINE_LEN):
        connection.append(mailbox, letters[start:start + PIPELINE_LEN])
    connection.close()


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


class Steps:
    """The steps against one server. Each gives {row: (value, unit, higher is better, cpu seconds)}."""

    def __init__(self, target, mailbox, letters, quick):
        self.target, self.mailbox, self.letters, self.quick = target, mailbox, letters, quick
        self.rows = {}

    def timed(self, work):
        cpu, begun = self.target.gauge.cpu(), time.perf_counter()
        result = work()
        return time.perf_counter() - begun, self.target.gauge.cpu() - cpu, result

    def select(self):
        took = []
        for _ in range(21):
            connection = Connection(self.target)
            took.append(self.timed(lambda: connection.select(self.mailbox)))
            connection.close()
        first, warm = took[0], sorted(took[1:])[10]
        self.rows["SELECT, first after the start"] = (first[0] * 1e3, "ms", False, first[1])
        self.rows["SELECT, warm"] = (warm[0] * 1e3, "ms", False, warm[1])

    def fetches(self):
        connection = Connection(self.target, self.mailbox)
        for name, command in FETCHES.items():
            for again in ("first", "again"):
                took, cpu, _ = self.timed(lambda: connection.ask(command, False))
                self.rows[f"{name}, {again}"] = (connection.exists / took, "letters/s", True, cpu)
        connection.close()

    def bodies(self):
        connection = Connection(self.target, self.mailbox)
        first = max(1, connection.exists - (999 if self.quick else 3999))
        for again in ("first", "again"):
            before = connection.received
            took, cpu, _ = self.timed(lambda: connection.ask(f"FETCH {first}:* (UID BODY.PEEK[])", False))
            self.rows[f"bodies, {again}"] = ((connection.received - before) / took / 1e6, "MB/s", True, cpu)
        connection.close()

    def search(self, word):
        connection = Connection(self.target, self.mailbox)
        for key in ("SUBJECT", "TEXT"):
            took, cpu, lines = self.timed(lambda: connection.ask(f'UID SEARCH {key} "{word}"'))
            hits = sum(len(line.split()) - 2 for line in lines if line.startswith(b"* SEARCH"))
            self.rows[f"SEARCH {key}"] = (took * 1e3, f"ms, {hits} hits", False, cpu)
        connection.close()

    def append(self):
        connection, count = Connection(self.target), 100 if self.quick else 300
        took, cpu, _ = self.timed(lambda: [connection.append(self.mailbox, [one]) for one in self.letters[:count]])
        self.rows["APPEND, durable, one by one"] = (count / took, "letters/s", True, cpu)
        connection.close()

    def idle(self):
        """The notice in one session after OK to APPEND in another."""
        watcher, writer, waits = Connection(self.target, self.mailbox), Connection(self.target), []
        watcher.socket.sendall(b"idle IDLE\r\n")
        while not watcher.line().startswith(b"+"):
            pass
        for letter in self.letters[:10 if self.quick else 40]:
            writer.append(self.mailbox, [letter])
            begun = time.perf_counter()
            while b" EXISTS" not in watcher.line():
                pass
            waits.append(time.perf_counter() - begun)
            time.sleep(0.02)
        for connection in (watcher, writer):
            connection.socket.close()
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            self.rows[f"IDLE notice after APPEND OK, {name}"] = (percentile(waits, share) * 1e3, "ms", False, None)

    def connections(self):
        for name, mailbox in (("INBOX, empty", "INBOX"), ("this mailbox", self.mailbox)):
            before, held = self.target.gauge.memory(), []
            for _ in range(IDLE_CONNECTIONS):
                connection = Connection(self.target, mailbox)
                connection.socket.sendall(b"idle IDLE\r\n")
                while not connection.line().startswith(b"+"):
                    pass
                held.append(connection)
            time.sleep(1)
            each = max(0, self.target.gauge.memory() - before) / IDLE_CONNECTIONS / 1e3
            self.rows[f"memory of a connection in IDLE: {name}"] = (each, "KB", False, None)
            for connection in held:
                connection.socket.close()
            time.sleep(0.5)

    def all(self, word):
        self.select()
        self.fetches()
        self.bodies()
        self.search(word)
        self.append()
        self.idle()
        self.connections()
        return self.rows
