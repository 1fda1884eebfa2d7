#!/usr/bin/env python3
"""Goes through the IMAP face with Python's imaplib: imaplib_client.py HOST PORT USER PASSWORD.

Ends 0 if everything came out as RFC 3501 and its extensions say; the account should be a new one."""
import hashlib
import imaplib
import os
import re
import socket
import sys
import threading
import time

host, port, user, password = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

LETTER = (b"From: Ann <ann@example.org>\r\nTo: me@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
          b"Date: Sun, 1 Feb 2026 10:00:00 +0100\r\nMessage-ID: <%d@example.org>\r\n"
          b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
          b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello W\xc3\xb6rld\r\n"
          b"--b\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Transfer-Encoding: base64\r\n"
          b"Content-Disposition: attachment; filename=x.bin\r\n\r\nAAEC\r\n--b--\r\n")


def check(what, condition, shown=None):
    if not condition:
        sys.exit("FAILED: %s: %r" % (what, shown))
    print("ok", what)


def connect():
    client = imaplib.IMAP4(host, port)
    client.login(user, password)
    return client


def ok(answer):
    if answer[0] != "OK":
        sys.exit("FAILED: %r" % (answer,))
    return answer[1]


def logins():
    wrong = imaplib.IMAP4(host, port)
    try:
        wrong.login(user, "wrong")
        sys.exit("FAILED: a wrong password was let in")
    except imaplib.IMAP4.error as error:
        check("a wrong password is refused", b"AUTHENTICATIONFAILED" in error.args[0], error)
    wrong.shutdown()
    plain = imaplib.IMAP4(host, port)
    plain.authenticate("PLAIN", lambda _: b"\0" + user.encode() + b"\0" + password.encode())
    check("AUTHENTICATE PLAIN", plain.state == "AUTH")
    plain.logout()


def mailboxes(client):
    names = [line.decode() for line in ok(client.list())]
    for name, use in (("Sent", "\\Sent"), ("Drafts", "\\Drafts"), ("Trash", "\\Trash"), ("Junk", "\\Junk")):
        check("LIST shows %s" % name, any(name in line and use in line for line in names), names)
    check("LIST shows INBOX and Outbox", all(any(n in line for line in names) for n in ("INBOX", "Outbox")), names)
    ok(client.create('"Entw&APw-rfe/2026"'))
    check("the parent is made", len(ok(client.list('""', '"Entw&APw-rfe*"'))) == 2)
    ok(client.rename('"Entw&APw-rfe"', '"A &- B"'))
    check("children move with it", b"A &- B/2026" in b" ".join(ok(client.list('""', '"A &- B/%"'))))
    ok(client.unsubscribe('"A &- B/2026"'))
    check("LSUB leaves it out", b"2026" not in b" ".join(ok(client.lsub())))
    check("Sent cannot go", client.delete("Sent")[0] == "NO")
    check("Outbox cannot be renamed", client.rename("Outbox", "x")[0] == "NO")
    for name in ("../etc", "a/" * 1000, "a//b"):
        check("%.10s cannot be made" % name, refused(lambda: client.create('"%s"' % name)))
    ok(client.delete('"A &- B/2026"'))
    ok(client.delete('"A &- B"'))


def refused(call):
    try:
        return call()[0] in ("NO", "BAD")
    except imaplib.IMAP4.error:
        return True


def appends(client):
    # A mailbox of its own: a new node's INBOX holds the welcome letter.
    ok(client.create("Trial"))
    for number in range(5):
        text = ok(client.append("Trial", r"(\Flagged $Label1)" if number == 0 else None,
                                '"01-Feb-2026 10:00:00 +0100"', LETTER % number))
        check("APPENDUID %d" % number, re.match(rb"\[APPENDUID \d+ %d\]" % (number + 1), text[0]), text)
    check("nothing goes into Outbox", client.append("Outbox", None, None, LETTER % 9)[0] == "NO")
    missing = client.append("Nosuch", None, None, LETTER % 9)
    check("TRYCREATE", missing[0] == "NO" and b"TRYCREATE" in missing[1][0], missing)


def fetches(client):
    check("five messages", ok(client.select("Trial")) == [b"5"])
    check("the body is byte-exact", ok(client.fetch("2", "(BODY.PEEK[])"))[0][1] == LETTER % 1)
    check("PEEK leaves it unseen", b"Seen" not in ok(client.fetch("2", "(FLAGS)"))[0])
    check("part 1", ok(client.fetch("2", "(BODY.PEEK[1])"))[0][1] == b"Hello W\xc3\xb6rld")
    check("partial", ok(client.fetch("2", "(BODY.PEEK[1]<6.4>)"))[0][1] == b"W\xc3\xb6r")
    check("partial past the end", ok(client.fetch("2", "(BODY.PEEK[1]<4294967295.4294967295>)"))[0][1] == b"")
    check("no part 3", b"BODY[3] NIL" in ok(client.fetch("2", "(BODY.PEEK[3])"))[0])
    check("MIME", ok(client.fetch("2", "(BODY.PEEK[2.MIME])"))[0][1].startswith(b"Content-Type: application"))
    fields = ok(client.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0]
    check("header fields", fields[1] == b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", fields)
    structure = ok(client.fetch("2", "(BODYSTRUCTURE)"))[0]
    check("BODYSTRUCTURE", b'("attachment" ("filename" "x.bin"))' in structure and b'"mixed"' in structure, structure)
    envelope = ok(client.fetch("2", "(ENVELOPE INTERNALDATE RFC822.SIZE)"))[0]
    check("ENVELOPE", b'(("Ann" NIL "ann" "example.org"))' in envelope, envelope)
    check("INTERNALDATE", b'"01-Feb-2026 09:00:00 +0000"' in envelope, envelope)
    check("SIZE", b"RFC822.SIZE %d" % len(LETTER % 1) in envelope, envelope)
    seen = ok(client.fetch("2", "(BODY[TEXT])"))
    check("BODY[] sets and tells Seen", b"\\Seen" in b"".join(p if isinstance(p, bytes) else p[0] for p in seen), seen)
    check("a number too large is refused", refused(lambda: client.fetch("99", "(FLAGS)")))
    check("unknown UIDs are no error", ok(client.uid("FETCH", "900:901", "(FLAGS)")) == [None])


def searches(client):
    def numbers(*keys):
        return ok(client.search(None, *keys))[0].decode()
    check("SEARCH ALL", numbers("ALL") == "1 2 3 4 5")
    check("SEARCH FLAGGED", numbers("FLAGGED") == "1" and numbers("KEYWORD", "$label1") == "1")
    check("SEARCH HEADER", numbers("HEADER", "Message-ID", "<3@") == "4")
    check("SEARCH OR NOT", numbers("OR", "1", "NOT", "1:4") == "1 5")
    client.literal = "GRÜSSE".replace("SS", "ß").encode()
    check("SEARCH SUBJECT in UTF-8", ok(client.search("UTF-8", "SUBJECT"))[0] == b"1 2 3 4 5")
    client.literal = "wörld".encode()
    check("SEARCH BODY in UTF-8", ok(client.search("UTF-8", "BODY"))[0] == b"1 2 3 4 5")
    check("SEARCH by dates", numbers("SENTON", "1-Feb-2026", "SINCE", "1-Feb-2026") == "1 2 3 4 5")
    check("SEARCH finds names of files", numbers("TEXT", "x.bin") == "1 2 3 4 5")
    check("deep nesting is refused", refused(lambda: client.search(None, "NOT " * 1000 + "ALL")))


def changes(client):
    check("STORE", b"\\Deleted" in ok(client.store("1", "+FLAGS", r"(\Deleted)"))[0])
    check("a silent STORE is silent", ok(client.store("3", "+FLAGS.SILENT", r"(\Answered Keyword)")) == [None])
    check("its flags are kept", b"Keyword" in ok(client.fetch("3", "(FLAGS)"))[0])
    copied = client.copy("2:3", "Trash")
    check("COPYUID", b"COPYUID" in copied[1][0], copied)
    check("EXPUNGE", ok(client.expunge()) == [b"1"])
    moved = client.uid("MOVE", "2", "Junk")
    check("MOVE", moved[0] == "OK" and client.response("EXPUNGE")[1] == [b"1"], moved)
    check("STATUS", b"(MESSAGES 3 UNSEEN 3 UIDNEXT 6)" in ok(client.status("Trial", "(MESSAGES UNSEEN UIDNEXT)"))[0])
    check("STATUS of Trash", b"MESSAGES 2" in ok(client.status("Trash", "(MESSAGES)"))[0])
    ok(client.select("Trial", readonly=True))
    check("EXAMINE changes nothing", refused(lambda: client.store("1", "+FLAGS", r"(\Seen)")))
    ok(client.select("Trial"))
    validity = client.response("UIDVALIDITY")[1]
    ok(client.select("Trial"))
    check("UIDVALIDITY is stable", client.response("UIDVALIDITY")[1] == validity)


def two_sessions(client):
    ok(client.select("Trial"))
    idler = socket.create_connection((host, port))
    lines = idler.makefile("rb")
    for command in (b'a LOGIN "%s" "%s"\r\n' % (user.encode(), password.encode()), b"b SELECT Trial\r\n", b"c IDLE\r\n"):
        idler.sendall(command)
        for line in lines:
            if line.startswith((command[:2], b"+ ")):
                break
    began = time.monotonic()
    ok(client.append("Trial", None, None, LETTER % 100))
    check("IDLE tells", lines.readline() == b"* 4 EXISTS\r\n" and b"RECENT" in lines.readline())
    print("   notice and append took %.1f ms" % ((time.monotonic() - began) * 1000))
    ok(client.store("1", "+FLAGS", r"(\Seen)"))
    check("IDLE tells flags", b"* 1 FETCH (FLAGS (\\Seen" in lines.readline())
    ok(client.store("4", "+FLAGS", r"(\Deleted)"))
    ok(client.expunge())
    lines.readline()
    check("IDLE tells expunges", lines.readline() == b"* 4 EXPUNGE\r\n")
    idler.sendall(b"DONE\r\n")
    check("IDLE ends", lines.readline().startswith(b"c OK"))
    idler.close()


def large(client):
    body = os.urandom(15 << 20).hex().encode()
    letter = b"Subject: large\r\n\r\n" + b"\r\n".join(body[at:at + 76] for at in range(0, len(body), 76)) + b"\r\n"
    began = time.monotonic()
    ok(client.append("Drafts", r"(\Draft)", None, letter))
    appended = time.monotonic()
    ok(client.select("Drafts"))
    imaplib._MAXLINE = 10 << 20
    back = ok(client.fetch("1", "(BODY.PEEK[])"))[0][1]
    check("30 MB come back byte-exact", hashlib.sha256(back).digest() == hashlib.sha256(letter).digest())
    print("   append %.2f s, fetch %.2f s" % (appended - began, time.monotonic() - appended))
    ok(client.store("1", "+FLAGS", r"(\Deleted)"))
    ok(client.close())
    check("CLOSE expunges", b"MESSAGES 0" in ok(client.status("Drafts", "(MESSAGES)"))[0])


logins()
client = connect()
mailboxes(client)
appends(client)
fetches(client)
searches(client)
changes(client)
two_sessions(client)
large(client)
client.logout()
print("all ok")
