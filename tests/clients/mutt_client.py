#!/usr/bin/env python3
"""Lets mutt read, flag, copy and delete through the IMAP face: mutt_client.py HOST PORT USER PASSWORD.

Ends 0 if the mailboxes are then as they should be."""
import imaplib
import os
import pty
import select
import sys
import tempfile
import time

host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
DEADLINE_SECS = 60

RC = """
set imap_user="{user}" imap_pass="{password}" imap_authenticators="{mechanism}"
set ssl_starttls=no ssl_force_tls=no folder="imap://{host}:{port}/" spoolfile="+{box}" record="" postponed="+Drafts"
set confirmappend=no delete=yes quit=yes move=no wait_key=no mark_old=no header_cache="" certificate_file=""
set copy=no sleep_time=0 confirmcreate=no imap_keepalive=5 timeout=3
push "{keys}"
"""


def fail(what, shown=None):
    sys.exit("FAILED: %s: %r" % (what, shown))


def mutt(keys, box, mechanism):
    """Runs mutt on a terminal of its own until it ends; gives what it wrote."""
    with tempfile.TemporaryDirectory() as home:
        rc = os.path.join(home, "rc")
        with open(rc, "w") as file:
            file.write(RC.format(keys=keys, box=box, mechanism=mechanism, user=user, password=password,
                                 host=host, port=port))
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm", HOME=home, LINES="40", COLUMNS="120")
            os.execvp("mutt", ["mutt", "-n", "-F", rc])
        shown, end = b"", time.monotonic() + DEADLINE_SECS
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        else:
            os.kill(child, 9)
            os.waitpid(child, 0)
            fail("mutt did not end", shown[-2000:])
        status = os.waitpid(child, 0)[1]
        if status:
            fail("mutt ended with %d" % status, shown[-2000:])
        return shown


client = imaplib.IMAP4(host, port)
client.login(user, password)
box = "mutt%d" % os.getpid()
client.create(box)
client.create(box + "-copies")
for number in range(6):
    letter = "From: a@b\r\nTo: c@d\r\nSubject: letter %d\r\nMessage-ID: <%d-%s@b>\r\n\r\nThe text.\r\n"
    client.append(box, None, None, (letter % (number, number, box)).encode())

for number, mechanism in enumerate(("login", "plain", "scram-sha-256")):
    client.select(box + "-copies")
    before = int(client.status(box + "-copies", "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
    there = int(client.status(box, "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
    keys = "<first-entry><flag-message><first-entry><display-message><exit>"
    keys += "<copy-message>=%s-copies<enter><last-entry><delete-message><sync-mailbox>" % box
    keys += "<limit>~f a@b<enter><quit>"
    shown = mutt(keys, box, mechanism)
    copies = client.status(box + "-copies", "(MESSAGES)")[1][0]
    if b"MESSAGES %d" % (before + 1) not in copies:
        fail("%s: the copy is not there" % mechanism, (copies, shown[-1500:]))
    left = client.status(box, "(MESSAGES)")[1][0]
    if b"MESSAGES %d" % (there - 1) not in left:
        fail("%s: the deleted letter is still there" % mechanism, (left, shown[-1500:]))
    client.select(box, readonly=True)
    flags = client.fetch("1", "(FLAGS)")[1][0]
    if (b"\\Flagged" in flags) != (number % 2 == 0) or b"\\Seen" not in flags:
        fail("%s: the flags are not there" % mechanism, flags)
    print("ok mutt with", mechanism)
print("all ok")
