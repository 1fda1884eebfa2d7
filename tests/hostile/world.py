"""What the hostile cases share: ways to each of a node's ports, and the measure of what a case cost the node.

A stream to the onion port goes through the hub, as a peer's would; it is spoken to in the hub's frames, so that it can
be cut, half closed and trickled. A Talk is a conversation in lines over either kind of stream.
"""
import hashlib
import base64
import os
import re
import socket
import struct
import threading
import time

import nodes

CPU_SECONDS_MAX = 1.0
GROWTH_MB_MAX = 32.0
NEXT_CLIENT_MS_MAX = 200.0
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def onion_host(public):
    """The host of an onion address whose key is these 32 bytes."""
    check = hashlib.sha3_256(b".onion checksum" + public + b"\x03").digest()[:2]
    return base64.b32encode(public + check + b"\x03").decode().lower() + ".onion"


# How long a peer is listened to that has been told everything and cannot be told that this was all.
SILENCE = 0.15


class Tcp:
    """A stream to a port on loopback."""

    said_all = False

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        return self.socket.recv(65536)

    def timeout(self, seconds):
        self.socket.settimeout(seconds)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    no_more = half_close

    def close(self):
        self.socket.close()


class Hub:
    """A stream that a dial through the hub gave."""

    FRAME_MAX = 256 * 1024
    said_all = False

    def __init__(self, path, own, to, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.unread = b""
        for _ in range(400):
            try:
                self.socket.connect(path)
                break
            except BlockingIOError:
                time.sleep(0.005)  # the backlog of a Unix socket is full at once
        self.socket.sendall(f"dial {own} {to} 25 {timeout * 1000}\n".encode())
        while b"\n" not in self.unread:
            got = self.socket.recv(65536)
            if not got:
                raise nodes.Failed("the hub closed the connection")
            self.unread += got
        answer, self.unread = self.unread.split(b"\n", 1)
        if answer != b"ok":
            raise nodes.Failed(f"the dial was answered {answer.decode()}")

    def send(self, data):
        for at in range(0, len(data), self.FRAME_MAX):
            piece = data[at:at + self.FRAME_MAX]
            self.socket.sendall(struct.pack(">I", len(piece)) + piece)

    def receive(self):
        head = self._exactly(4)
        size = struct.unpack(">I", head)[0] if head else 0
        return self._exactly(size) if size else b""

    def _exactly(self, size):
        while len(self.unread) < size:
            got = self.socket.recv(262144)
            if not got:
                return b""
            self.unread += got
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    def timeout(self, seconds):
        self.socket.settimeout(seconds)

    def half_close(self):
        """Ends both directions, as over Tor."""
        self.socket.sendall(struct.pack(">I", 0))

    def no_more(self):
        self.said_all = True
        self.socket.settimeout(SILENCE)

    def close(self):
        self.socket.close()


class Talk:
    """A conversation in lines."""

    def __init__(self, stream):
        self.stream, self.buffer, self.ended, self.tags = stream, b"", False, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def send(self, data):
        self.stream.send(data.encode() if isinstance(data, str) else data)

    def flood(self, pieces):
        """Sends all pieces and the end of the stream while reading; gives everything that was said until the end. A
        peer that has stopped reading is no failure."""
        def pump():
            try:
                for piece in pieces:
                    self.send(piece)
                self.stream.no_more()
            except OSError:
                pass
        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        said = self.rest()
        thread.join(20)
        return said

    def line(self):
        """The next line without its end; None at the end of the stream."""
        while b"\n" not in self.buffer:
            if not self._more():
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def exactly(self, size):
        parts, have = [self.buffer], len(self.buffer)
        while have < size:
            got = self.stream.receive()
            if not got:
                raise nodes.Failed("the stream ended inside a literal")
            parts.append(got)
            have += len(got)
        whole = b"".join(parts)
        self.buffer = whole[size:]
        return whole[:size]

    def _more(self):
        try:
            got = self.stream.receive()
        except (ConnectionResetError, BrokenPipeError):
            got = b""
        except TimeoutError:
            if not self.stream.said_all:
                raise
            got = b""
        self.ended = not got
        self.buffer += got
        return bool(got)

    def rest(self):
        """Everything up to the end of the stream."""
        parts = [self.buffer]
        self.buffer = b""
        while self._more():
            parts.append(self.buffer)
            self.buffer = b""
        return b"".join(parts)

    # SMTP

    def reply(self):
        """The next SMTP reply: its code and its text. Code 0 is the end of the stream."""
        text = []
        while True:
            line = self.line()
            if line is None:
                return 0, " ".join(text)
            text.append(line[4:].decode(errors="replace"))
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(text)

    def say(self, data, *codes):
        """Sends and takes one reply, which must have one of the codes."""
        self.send(data)
        return self.expect(*codes, said=data)

    def expect(self, *codes, said=""):
        code, text = self.reply()
        if codes and code not in codes:
            raise nodes.Failed(f"{said[:60]!r} was answered {code} {text[:200]!r}, not {codes}")
        return code, text

    # IMAP

    def command(self, text):
        """A tagged IMAP command; gives the untagged answers with their literals as bytes, and the tagged line."""
        self.tags += 1
        tag = f"t{self.tags}".encode()
        self.send(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        return self.answer(tag)

    def answer(self, tag):
        lines = []
        while True:
            line = self.line()
            if line is None:
                return lines, b""
            while match := re.search(rb"\{(\d+)\}$", line):
                line += self.exactly(int(match[1])) + (self.line() or b"")
            if line.startswith(tag + b" "):
                return lines, line[len(tag) + 1:]
            lines.append(line)

    def ok(self, text):
        lines, tagged = self.command(text)
        if not tagged.startswith(b"OK"):
            raise nodes.Failed(f"{text[:60]!r} was answered {tagged[:200]!r}")
        return lines


def codes(said):
    """The codes of the SMTP replies in this text."""
    return [int(line[:3]) for line in said.split(b"\n") if re.match(rb"\d{3}( |\r|$)", line)]


class World:
    """Bob, the node under attack, and Ann, another node."""

    def __init__(self, hub_socket, ann, bob):
        self.hub_socket, self.ann, self.bob = hub_socket, ann, bob
        self.host = bob.address.split("@")[1]
        self.serial = 0
        self.probe_cpu = {}

    # Ways in

    def onion(self, own, greet=True, timeout=30):
        """A conversation with Bob's onion port, from the onion whose host is `own`."""
        talk = Talk(Hub(self.hub_socket, own, self.host, timeout))
        if greet:
            talk.expect(220)
            talk.say(f"EHLO {own}\r\n", 250)
        return talk

    def submission(self, login=True, timeout=30):
        talk = Talk(Tcp(self.bob.smtp, timeout))
        talk.expect(220)
        talk.say("EHLO [127.0.0.1]\r\n", 250)
        if login:
            plain = base64.b64encode(f"\0{self.bob.user}\0{self.bob.password}".encode()).decode()
            talk.say(f"AUTH PLAIN {plain}\r\n", 235)
        return talk

    def imap(self, select="INBOX", login=True, timeout=60):
        talk = Talk(Tcp(self.bob.imap, timeout))
        if not talk.line().startswith(b"* OK"):
            raise nodes.Failed("IMAP did not greet")
        if login:
            talk.ok(f'LOGIN "{self.bob.user}" {self.bob.password}')
            if select:
                talk.ok(f"SELECT {select}")
        return talk

    def talk(self, face, **kwargs):
        return self.onion(STRANGER, **kwargs) if face == "onion" else self.submission(**kwargs)

    def sender(self, face):
        return f"eve@{STRANGER}" if face == "onion" else self.bob.address

    def subject(self, word):
        self.serial += 1
        return f"{word} {self.serial}"

    # What an ordinary client does

    def probe(self, face):
        """One ordinary client on that face, from connecting to its thanks; seconds."""
        begun = time.monotonic()
        if face == "drop":
            return self.honest_letter()
        if face == "imap":
            with self.imap(timeout=20) as talk:
                talk.ok("STATUS Sent (MESSAGES UNSEEN)")
                talk.ok("LOGOUT")
        else:
            with self.talk(face, timeout=20) as talk:
                self.letter(talk, face, "probe", b"an ordinary letter\r\n")
                talk.say("QUIT\r\n", 221)
        return time.monotonic() - begun

    def honest_letter(self):
        """A letter is left at a drop and collected; seconds, but for those in which this side made its proof."""
        import drop_cases
        begun, place, sealed = time.monotonic(), drop_cases.Place(self, 0), os.urandom(4096)
        place.deposit(place.guest, sealed)
        place.collect(place.guest, 10**6, sealed)
        return time.monotonic() - begun - place.proving_secs

    def letter(self, talk, face, subject, body, expect=250, header=b""):
        """One letter by DATA, its commands in one flight."""
        sender = self.sender(face)
        talk.send(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{self.bob.address}>\r\nDATA\r\n")
        talk.expect(250)
        talk.expect(250)
        talk.expect(354)
        talk.send(f"From: {sender}\r\nSubject: {subject}\r\n".encode() + header + b"\r\n" + body + b".\r\n")
        return talk.expect(*[expect] if expect else [])

    def chunk(self, talk, face, letter, *expect):
        """One letter by BDAT in one flight."""
        talk.send(f"MAIL FROM:<{self.sender(face)}>\r\nRCPT TO:<{self.bob.address}>\r\n")
        talk.expect(250)
        talk.expect(250)
        talk.send(f"BDAT {len(letter)} LAST\r\n".encode())
        talk.send(letter)
        return talk.expect(*expect)

    @staticmethod
    def folder(face):
        """Where letters that come in by this face are filed: a stranger's in Requests, one's own in INBOX."""
        return "Requests" if face == "onion" else "INBOX"

    def subjects(self, mailbox):
        with self.imap(mailbox) as talk:
            lines = talk.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [line.split(b"Subject: ", 1)[1].split(b"\r\n")[0].decode() for line in lines if b"Subject: " in line]


# An onion that has proved nothing: any key that is a point of the right order will do. This is RFC 8032's first.
STRANGER = onion_host(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))


class Meter:
    """What the node's process used: CPU seconds, memory, and whether it lives."""

    def __init__(self, pid):
        self.pid = pid

    def alive(self):
        try:
            with open(f"/proc/{self.pid}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def _status(self, key):
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) / 1024
        raise nodes.Failed(f"/proc tells no {key}")

    def rss(self):
        return self._status("VmRSS")

    def peak(self):
        return self._status("VmHWM")

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as clear:
            clear.write("5")


class Probes:
    """Ordinary clients, one after another, while a case runs."""

    def __init__(self, world, face):
        self.world, self.face, self.worst, self.failed, self.number = world, face, 0.0, None, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(60)

    def _run(self):
        while not self.over.wait(0.1):
            try:
                self.number += 1
                self.worst = max(self.worst, self.world.probe(self.face))
            except (nodes.Failed, OSError) as why:
                self.failed = why
