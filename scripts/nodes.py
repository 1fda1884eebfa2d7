"""Starts, kills and asks nodes of the onionskin binary: what demo, crash and the tests with stock programs share.

A Node is one data directory and at most one process of `onionskin up`. Everything goes through the real faces: the
command line, submission and IMAP. Only the Python standard library is used.
"""
import email
import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time


class Failed(Exception):
    """Something did not come about; the text is for a person."""


def wait_until(what, seconds, check, pause=0.1):
    """Calls check() until it gives something true; gives that, and the seconds it took."""
    start = time.monotonic()
    while True:
        found = check()
        if found:
            return found, time.monotonic() - start
        if time.monotonic() - start > seconds:
            raise Failed(f"waited {seconds} s in vain: {what}")
        time.sleep(pause)


class Node:
    """One identity and its node."""

    def __init__(self, name, binary, data_dir, network, wrapper=()):
        self.name, self.binary, self.data_dir, self.network = name, binary, data_dir, network
        self.wrapper = list(wrapper)  # a command that the node is started through, such as `testnet exec`
        self.process = None
        self.log = open(f"{data_dir}.log", "ab")
        self.address = self.words = self.user = self.password = self.imap = self.smtp = None

    def command(self, *args, **kwargs):
        """Runs a command of the CLI on this node's data; gives what it printed."""
        done = subprocess.run([self.binary, "--data-dir", self.data_dir, *args], capture_output=True,
                              stdin=kwargs.pop("stdin", subprocess.DEVNULL) if "input" not in kwargs else None,
                              timeout=120, **kwargs)
        if done.returncode != 0:
            raise Failed(f"{self.name}: onionskin {args[0]} ended {done.returncode}: "
                         f"{done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def init(self):
        """Makes the identity, without a passphrase, and keeps its recovery words."""
        said = self.command("init", "--name", self.name, "--no-passphrase").decode()
        self.words = " ".join(re.findall(r"\d+\. ([a-z]+)", said))
        self.address = json.loads(self.command("address", "--json"))["address"]

    def start(self):
        """Starts the process and waits until it answers commands."""
        if self.process:
            raise Failed(f"{self.name} runs already")
        self.process = subprocess.Popen(
            [*self.wrapper, self.binary, "--data-dir", self.data_dir, "up", "--network", self.network,
             "--imap-port", "0", "--smtp-port", "0"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(f"{self.name} comes up (see {self.data_dir}.log)", 30, self._is_up, pause=0.02)
        if not self.password:
            minted = json.loads(self.command("credentials", "--json", "--label", "script"))
            self.user, self.password = minted["user"], minted["password"]

    def _is_up(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended by itself with {self.process.returncode}; see {self.data_dir}.log")
        # A killed process leaves its socket behind. A command that finds nobody there would open the store by itself,
        # and so keep out the very node that is waited for.
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.connect(os.path.join(self.data_dir, "control.sock"))
        except OSError:
            return False
        identity = self.status()
        if not identity.get("imap") or not identity.get("smtp"):
            return False
        self.imap, self.smtp = identity["imap"]["port"], identity["smtp"]["port"]
        return True

    def status(self):
        """The one identity of `status --json`."""
        return json.loads(self.command("status", "--json"))["identities"][0]

    def pids(self):
        """The process that was started, and its children (a wrapper has the node as its child)."""
        if not self.process:
            return []
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self, sign=signal.SIGKILL):
        """Ends the process and waits for its end."""
        if not self.process:
            return
        for pid in reversed(self.pids()):
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                pass
        self.process.wait(timeout=30)
        self.process = None

    def stop(self):
        """Ends the process the polite way."""
        self.kill(signal.SIGTERM)

    def submission(self, timeout=30):
        """A logged-in smtplib session. A whole letter must be sent within the timeout, in seconds."""
        session = smtplib.SMTP("127.0.0.1", self.smtp, timeout=timeout)
        session.login(self.user, self.password)
        return session

    def mailbox(self, name="INBOX"):
        """A logged-in imaplib session with a mailbox selected, read-only."""
        session = imaplib.IMAP4("127.0.0.1", self.imap, timeout=60)
        session.login(self.user, self.password)
        session.select(name, readonly=True)
        return session

    def header_values(self, field, mailbox="INBOX"):
        """Every value of one header field in a mailbox, read over IMAP."""
        session = self.mailbox(mailbox)
        found = []
        kind, data = session.uid("FETCH", "1:*", f"(BODY.PEEK[HEADER.FIELDS ({field})])")
        if kind == "OK":
            for item in data:
                if isinstance(item, tuple):
                    found += [line.split(":", 1)[1].strip() for line in item[1].decode().splitlines()
                              if line.lower().startswith(field.lower() + ":")]
        session.logout()
        return found

    def letter_count(self, mailbox="INBOX"):
        """How many letters are in a mailbox."""
        session = self.mailbox(mailbox)
        _, data = session.uid("SEARCH", "ALL")
        session.logout()
        return len((data[0] or b"").split())

    def letters(self, mailbox="INBOX", at_once=50):
        """Every letter of a mailbox, its bytes as IMAP gives them; few are in memory at once."""
        session = self.mailbox(mailbox)
        kind, data = session.uid("SEARCH", "ALL")
        if kind != "OK":
            raise Failed(f"{self.name}: SEARCH was answered {kind}")
        uids = (data[0] or b"").decode().split()
        for start in range(0, len(uids), at_once):
            wanted = uids[start:start + at_once]
            kind, data = session.uid("FETCH", ",".join(wanted), "(BODY.PEEK[])")
            found = [item[1] for item in data if isinstance(item, tuple)]
            if kind != "OK" or len(found) != len(wanted):
                raise Failed(f"{self.name}: FETCH of {len(wanted)} letters gave {kind} and {len(found)}")
            yield from found
        session.logout()


def acquaint(*people):
    """Lets all of them know each other, as people do who have met: letters then come to INBOX, not to Requests."""
    for one in people:
        for other in people:
            if other is not one:
                one.command("contacts", "know", other.address)


def field_of(letter, name):
    """The values of a header field, each on one line, in their order."""
    head = email.message_from_bytes(letter.partition(b"\r\n\r\n")[0])
    return [" ".join(value.split()) for value in head.get_all(name, [])]


def descendants(pid):
    """Every process below pid, parents first."""
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            for child in children.read().split():
                found += [int(child), *descendants(int(child))]
    except OSError:
        pass
    return found


def build(root, features, *targets):
    """Builds and gives the path of cargo's target directory. Features: the flags that choose them."""
    command = ["cargo", "build", "--quiet", *features, *targets]
    if subprocess.run(command, cwd=root).returncode != 0:
        raise Failed(" ".join(command) + " failed")
    meta = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=root, capture_output=True)
    return json.loads(meta.stdout)["target_directory"]


def main(run):
    """Runs a script's body; a Failed is one line and exit status 1."""
    try:
        sys.exit(run())
    except Failed as failed:
        print(f"FAILED: {failed}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
