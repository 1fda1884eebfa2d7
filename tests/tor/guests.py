"""Somebody without a node on Tor: C tor with a client key, Python's imaplib through SOCKS, and the stock age.

Nothing of ours is on this side: what a guest does by docs/guide/guest.md, with the programs that are named there.
"""
import email
import imaplib
import json
import os
import socket
import subprocess
import time

import nodes
from world import StockTor, fresh

SOON_SECS = 120  # a new onion is published, and found by a Tor that has just started
MISSING_KEY, WRONG_KEY = 0xf4, 0xf5  # what C tor says in extended SOCKS errors (proposal 304)


class OnionImap(imaplib.IMAP4):
    """The stock client over a stream that is open already."""

    def __init__(self, stream):
        self.stream = stream
        super().__init__()

    def open(self, *_, **__):
        self.sock = self.stream
        self.file = self.sock.makefile("rb")


class Guest:
    """An address at a node; `address` is all that a writer needs."""

    def __init__(self, holder, name, folder):
        os.makedirs(folder, mode=0o700)
        self.folder, self.key = folder, os.path.join(folder, "key.txt")
        subprocess.run(["age-keygen", "-o", self.key], check=True, capture_output=True)
        public = subprocess.run(["age-keygen", "-y", self.key], check=True, capture_output=True, text=True)
        self.told = json.loads(holder.command("guest", "add", name, "--age", public.stdout.strip(), "--bytes", "2M",
                                              "--json"))
        self.name, self.address, self.host = name, self.told["address"], self.told["imap"]["host"]

    def tor(self, key="own"):
        """A C tor that knows the key of the onion, another one, or none."""
        folder = os.path.join(self.folder, f"tor-{os.urandom(4).hex()}")
        keys = f"{folder}-keys"
        os.makedirs(keys, mode=0o700)
        line = self.told["client_auth"]
        if key != "none":
            if key == "other":
                line = line[:-8] + ("AAAAAAAQ" if line[-8:] != "AAAAAAAQ" else "BBBBBBBQ")
            with open(os.path.join(keys, "guest.auth_private"), "w") as out:
                out.write(line + "\n")
        return StockTor(folder, f"ClientOnionAuthDir {keys}\n", "ExtendedErrors")

    def mailbox(self, stream):
        """A session that has logged in and selected INBOX."""
        session = OnionImap(stream)
        session.login(self.told["user"], self.told["password"])
        session.select("INBOX")
        return session

    def opened(self, letter):
        """What the stock age makes of the attachment."""
        message = email.message_from_bytes(letter)
        parts = [part for part in message.walk() if part.get_filename()]
        assert [part.get_filename() for part in parts] == ["letter.eml.age"], message.items()
        done = subprocess.run(["age", "-d", "-i", self.key], input=parts[0].get_payload(decode=True), capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def letters_of(session):
    """(uid, letter) of everything in the mailbox."""
    session.noop()
    _, found = session.uid("SEARCH", "ALL")
    uids = (found[0] or b"").split()
    return [(uid.decode(), session.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1][0][1]) for uid in uids]


def a_guest_without_a_node_reads_by_stock_tor_imap_and_age(world):
    guest = Guest(world.bob, "gil", os.path.join(world.work, "guest"))
    lines = "\r\n0123456789abcdef" * 12_000
    texts = [(fresh("for the guest"), fresh("a body")), (fresh("and another"), fresh("long") + lines)]
    for subject, body in texts:
        world.write(world.ann, guest, subject, body)
    nodes.wait_until("the receipts end it", SOON_SECS, lambda: world.ann.status()["waiting"] == 0, 0.5)
    sent = [world.ann.command("read", "--folder", "Sent", "--raw", str(row["number"]))
            for row in json.loads(world.ann.command("inbox", "--folder", "Sent", "--json"))
            if row["subject"] in dict(texts)]
    assert len(sent) == 2
    with guest.tor() as tor:
        begun = time.monotonic()
        session = guest.mailbox(tor.connect_when_ready(guest.host, 143, SOON_SECS))
        reached = time.monotonic() - begun
        found = letters_of(session)
        assert len(found) == 2, f"{len(found)} letters"
        for (uid, letter), original in zip(found, sent):
            assert email.message_from_bytes(letter)["Subject"] == "A letter"
            plain = guest.opened(letter)
            assert plain.endswith(original), f"letter {uid} is not the one that was sent"
            assert b"seal=pass" in plain and original not in letter
        _, able = session.capability()
        assert b" QUOTA QUOTA=RES-STORAGE " in able[-1], able
        _, quota = session.getquotaroot("INBOX")
        used = sum(len(letter) for _, letter in found)
        assert quota[1] == [b'"" (STORAGE %d 2048)' % -(-used // 1024)], quota
        session.uid("STORE", found[0][0], "+FLAGS", r"(\Flagged \Seen)")
        session.uid("STORE", found[1][0], "+FLAGS", r"(\Deleted)")
        session.expunge()
        for port in 25, 80, 587:
            assert not isinstance(tor.connect(guest.host, port), socket.socket), f"port {port} is open"
        world.bob.stop()
        world.bob.start()
        again = time.monotonic()
        session = guest.mailbox(tor.connect_when_ready(guest.host, 143, SOON_SECS))
        restarted = time.monotonic() - again
        _, flags = session.uid("FETCH", "1:*", "(FLAGS)")
        assert len(flags) == 1 and rb"\Flagged" in flags[0] and rb"\Seen" in flags[0], flags
        session.logout()
        begun = time.monotonic()
        subject = fresh("while you read")
        world.write(world.ann, guest, subject, "and here it is")
        session = guest.mailbox(tor.connect_when_ready(guest.host, 143, SOON_SECS))
        nodes.wait_until("the third letter", SOON_SECS, lambda: len(letters_of(session)) == 2, 0.5)
        arrived = time.monotonic() - begun
        assert f"Subject: {subject}\r\n".encode() in guest.opened(letters_of(session)[1][1])
    for key, answer in ("none", MISSING_KEY), ("other", WRONG_KEY):
        with guest.tor(key) as tor:
            said = nodes.wait_until("C tor is up", SOON_SECS, lambda: settled(tor, guest.host), 0.5)[0]
            assert said == answer, f"with {key} key C tor says {said:#x}"
    world.reachable(world.bob, SOON_SECS)
    removed = json.loads(world.bob.command("guest", "remove", guest.name, "--yes", "--json"))
    assert removed["letters"] == 2, removed
    return (f"reached {reached:.1f} s after tor's start, {restarted:.1f} s after the holder's; a letter is there "
            f"{arrived:.1f} s after it was written; without the key C tor says F4, with another F5")


def settled(tor, host):
    """What C tor says of port 143, once it says more than that it is not ready."""
    try:
        answer = tor.connect(host, 143)
    except OSError:
        return None
    if isinstance(answer, socket.socket):
        raise nodes.Failed("the onion is open")
    return answer if answer >= 0xf0 and answer not in (0xf0, 0xf2, 0xf3, 0xf7) else None
