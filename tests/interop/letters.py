"""What must be true between a node and a stock mail server: each takes the node and the server, raises if it is not so,
and gives a figure to show. A case's name says what must be true.
"""
import email
import email.policy
import json
import os
import smtplib
import time

import nodes
from world import arrives, body_of, fetch, fresh, header_of, is_unverified

ARRIVES_SECS = 60
BIG_ARRIVES_SECS = 180
# A C tor that looked for an onion in vain asks the same directories again after two minutes (testing networks).
AGAIN_SECS = 420
BIG_BYTES = 5 * 1024 * 1024
# Bytes that a careless program would change: UTF-8 in eight bits, dots where SMTP doubles them, trailing blanks, an
# ending like the end of a text.
BODY = ("Grüße aus Köln, приве́т, 你好, 🧅.\r\n.\r\n..\r\n.dot\r\n..two dots\r\n...three\r\n \r\ntrailing blanks  \r\n"
        "From the start of a line.\r\n\r\n\r\n.\r\nQUIT\r\n.\r\n").encode()


def letter(source, target, subject, body, more=""):
    return (f"From: {source}\r\nTo: {target}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n{more}\r\n").encode() + body


def same(sent, got):
    """The body is what was sent, or says where it first differs."""
    if sent != got:
        at = next((at for at, (a, b) in enumerate(zip(sent, got)) if a != b), min(len(sent), len(got)))
        raise nodes.Failed(f"{len(sent)} bytes were sent and {len(got)} arrived; at {at}: "
                           f"{sent[at:at + 20]!r} became {got[at:at + 20]!r}")


def submit(node, target, subject, body):
    session = node.submission(timeout=300)
    session.sendmail(node.address, [target], letter(node.address, target, subject, body), ["BODY=8BITMIME"])
    session.quit()


def delivered(server, subject, seconds):
    """Waits until a letter of this subject is in the server's Maildir; gives (letter, seconds)."""
    def look():
        found = [one for one in server.letters() if header_of(one, "Subject") == subject]
        if len(found) > 1:
            raise nodes.Failed(f"the letter is there {len(found)} times")
        return found[0] if found else None
    return nodes.wait_until(f"the letter is in the Maildir of {server.name}", seconds, look, 0.1)


def bounced(server, subject):
    """Waits until the server has told its person that a letter came back; gives what it wrote."""
    def look():
        return next((one for one in server.letters() if subject.encode() in one
                     and "mailer-daemon@" in header_of(one, "From").lower()), None)
    return nodes.wait_until(f"the report of {server.name}", ARRIVES_SECS, look, 0.2)[0]


def its_letters_arrive_byte_for_byte_in_requests_and_are_marked_unverified(node, server):
    subject = fresh("from a stock server")
    server.send([node.address], letter(server.address, node.address, subject, BODY,
                                     f"Authentication-Results: {node.address.partition('@')[2]}; onion=pass\r\n"
                                     f"X-Onionskin-Verdict: trusted; signed and sealed by {node.address}\r\n"))
    uid, seconds = arrives(node, subject, ARRIVES_SECS, mailbox="Requests")
    got = fetch(node, uid, "Requests")
    same(BODY, body_of(got))
    is_unverified(node, uid, got)
    parsed = email.message_from_bytes(got.partition(b"\r\n\r\n")[0])
    verdicts = [" ".join(text.split()) for text in parsed.get_all("Authentication-Results", [])]
    assert verdicts == [f"{node.address.partition('@')[2]}; onion=none"], f"the verdicts are {verdicts}"
    received = " ".join(parsed.get_all("Received")[0].split())
    assert received.startswith("from unproved by ") and " with ESMTP for <" in received, received
    assert parsed["Return-Path"] == f"<{server.address}>", parsed["Return-Path"]
    return f"{seconds:.1f} s; onion=none"


def a_node_s_letters_arrive_byte_for_byte(node, server):
    subject = fresh("from a node")
    submit(node, server.address, subject, BODY)
    got, seconds = delivered(server, subject, ARRIVES_SECS)
    same(BODY, body_of(got))
    nodes.wait_until("the node's queue is empty", 30, lambda: node.status()["waiting"] == 0)
    return f"{seconds:.1f} s"


def it_is_a_stranger_even_to_a_node_that_writes_to_it(node, server):
    """Whom the person writes to is known. But nothing proves that a letter is from there."""
    submit(node, server.address, fresh("first"), b"Do write back.\r\n")
    nodes.wait_until("the node's queue is empty", 30, lambda: node.status()["waiting"] == 0)
    known = json.loads(node.command("contacts", "--json", "show", server.address))
    subject = fresh("the answer")
    server.send([node.address], letter(server.address, node.address, subject, BODY))
    uid, _ = arrives(node, subject, ARRIVES_SECS, mailbox="Requests")
    is_unverified(node, uid, fetch(node, uid, "Requests"))
    assert known["tier"] == "known", known


def five_megabytes_go_both_ways(node, server):
    lines = os.urandom(38 * 1024).hex()
    block = "\r\n".join(lines[at:at + 76] for at in range(0, len(lines), 76)) + "\r\n"
    body = (block * (BIG_BYTES // len(block) + 1)).encode()
    subject = fresh("five megabytes out")
    server.send([node.address], letter(server.address, node.address, subject, body))
    uid, there = arrives(node, subject, BIG_ARRIVES_SECS, 0.2, "Requests")
    same(body, body_of(fetch(node, uid, "Requests")))
    subject = fresh("five megabytes back")
    submit(node, server.address, subject, body)
    got, back = delivered(server, subject, BIG_ARRIVES_SECS)
    same(body, body_of(got))
    return f"{len(body)} bytes: {there:.1f} s to the node, {back:.1f} s from it"


def its_letter_waits_while_the_node_is_away_and_arrives(node, server):
    subject = fresh("while the node is away")
    node.stop()
    try:
        server.send([node.address], letter(server.address, node.address, subject, BODY))
        nodes.wait_until(f"{server.name} has tried in vain", ARRIVES_SECS, server.waiting, 0.2)
    finally:
        node.start()
    nodes.wait_until("the node is reachable", 120, lambda: node.status()["reachable"])
    begun = time.monotonic()

    def look():
        if subject in node.header_values("Subject", "Requests"):
            return True
        server.retry()
        return False
    nodes.wait_until("the letter arrives", AGAIN_SECS, look, 5)
    assert not any(subject.encode() in one for one in server.letters()), "its author was told that it failed"
    return f"{time.monotonic() - begun:.1f} s after the node was back"


def a_node_s_letter_waits_while_the_server_is_away_and_arrives(node, server):
    subject = fresh("while the server is away")
    server.stop()
    try:
        submit(node, server.address, subject, BODY)
        rows = nodes.wait_until("the node has tried in vain", ARRIVES_SECS, lambda: tried(node), 0.2)[0]
    finally:
        server.start()
    node.command("queue", "retry")
    _, seconds = delivered(server, subject, ARRIVES_SECS)
    nodes.wait_until("the node's queue is empty", 30, lambda: node.status()["waiting"] == 0)
    return f"{seconds:.1f} s after the retry; before: {rows[0]}"


def tried(node):
    """What the node says of the tries of what waits."""
    rows = json.loads(node.command("queue", "list", "--json"))
    return [str(row.get("last")) for row in rows if row["tries"] > 0]


def a_name_nobody_has_at_the_node_comes_back_with_the_node_s_words(node, server):
    subject, wrong = fresh("to nobody"), f"no.such.name@{node.address.partition('@')[2]}"
    begun = time.monotonic()
    server.send([wrong], letter(server.address, wrong, subject, b"Anyone there?\r\n"))
    bounce = bounced(server, subject)
    words = "550 5.1.1 Nobody of that name here"
    flat = b" ".join(bounce.split()).decode(errors="replace")
    assert words in flat, f"the report does not hold the node's words: {flat[:3000]}"
    return f"{time.monotonic() - begun:.1f} s; \"{words}\""


def its_letter_to_echo_comes_back_with_the_reason(node, server):
    subject, echo = fresh("to echo"), f"echo@{node.address.partition('@')[2]}"
    server.send([echo], letter(server.address, echo, subject, b"Anyone there?\r\n"))
    flat = b" ".join(bounced(server, subject).split()).decode(errors="replace")
    words = "550 5.7.1 echo@ answers only a node that has proved its onion"
    assert words in flat, flat[:3000]
    return words


def a_name_nobody_has_at_the_server_comes_back_as_a_report(node, server):
    subject, wrong = fresh("to nobody there"), f"no.such.name@{server.host}"
    submit(node, wrong, subject, b"Anyone there?\r\n")

    def look():
        for one in node.letters():
            parsed = email.message_from_bytes(one, policy=email.policy.default)
            if parsed.get_content_type() == "multipart/report" and subject.encode() in one:
                return one
        return None
    report, seconds = nodes.wait_until("the report in INBOX", ARRIVES_SECS, look, 0.2)
    text = report.decode(errors="replace")
    assert "Action: failed" in text and f"Final-Recipient: rfc822; {wrong}" in text, text
    diagnostic = next(line for line in text.splitlines() if line.startswith("Diagnostic-Code: smtp; 55"))
    assert not any(header_of(one, "Subject") == subject for one in server.letters())
    return f"{seconds:.1f} s; {diagnostic.partition('; ')[2]}"


def a_letter_for_two_and_one_for_nobody_reaches_the_two_that_exist(node, server):
    host = node.address.partition("@")[2]
    subject = fresh("for three")
    server.send([node.address, f"postmaster@{host}", f"no.such.name@{host}"],
                letter(server.address, node.address, subject, b"One text.\r\n"))
    arrives(node, subject, ARRIVES_SECS, mailbox="Requests")
    assert b"Final-Recipient: rfc822; postmaster" not in bounced(server, subject)


def it_relays_nothing_for_callers_from_tor(node, server):
    """The trap of the recipe: through Tor everybody comes from 127.0.0.1, whom mail servers trust."""
    session = smtplib.SMTP(timeout=60, local_hostname="stranger.example")
    session.sock = server.tor.connect_when_ready(server.host, 25, 60)
    code, _ = session.getreply()
    assert code == 220, f"greeted with {code}"
    session.ehlo()
    assert session.docmd("MAIL", f"FROM:<{server.address}>")[0] == 250
    code, said = session.docmd("RCPT", f"TO:<{node.address}>")
    session.quit()
    assert 500 <= code < 600, f"a recipient elsewhere was answered {code} {said}"
    return f"{code} {said.decode()}"


ALL = [its_letters_arrive_byte_for_byte_in_requests_and_are_marked_unverified, a_node_s_letters_arrive_byte_for_byte,
       it_is_a_stranger_even_to_a_node_that_writes_to_it,
       a_node_s_letter_waits_while_the_server_is_away_and_arrives, five_megabytes_go_both_ways,
       a_name_nobody_has_at_the_node_comes_back_with_the_node_s_words,
       a_name_nobody_has_at_the_server_comes_back_as_a_report, its_letter_to_echo_comes_back_with_the_reason,
       a_letter_for_two_and_one_for_nobody_reaches_the_two_that_exist, it_relays_nothing_for_callers_from_tor]
LONG = [its_letter_waits_while_the_node_is_away_and_arrives]
