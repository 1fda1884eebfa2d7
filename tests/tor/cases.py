"""The tests on Tor: each takes the world, raises if something did not come about, and gives a figure to show.

A test's name says what must be true. The limits in seconds are promises to the user, not patience with the machine.
"""
import hashlib
import json
import os
import smtplib
import subprocess
import time

import guests
import leaks
import nodes
from world import (StockTor, arrives, body_of, fetch, flags_of, fresh, header_of, is_unverified, mark_memory, memory,
                   processes_about, testnet)

BACK_SECS = 60  # after an absence or an outage
PATIENCE_SECS = 300  # how long a late letter is waited for, to say how late it was
AWAY_SECS = 60
LONG_AWAY_SECS = 600
STOP_SECS = 10
BIG_BYTES = 50 * 1024 * 1024
CUTS = 3
CUT_SECS = 60  # the end of a stream's relays is noticed within this
OVER_MAX = 0.1  # how much more than its size a letter that is cut may cost
RELAYS = [f"relay{number}" for number in range(5)]
GROWTH_MAX_KIB = 16 * 1024


def letters_go_both_ways(world):
    took = []
    for source, target in (world.ann, world.bob), (world.bob, world.ann):
        subject, body = fresh("both ways"), fresh("a body")
        world.write(source, target, subject, body)
        uid, seconds = arrives(target, subject, BACK_SECS)
        letter = fetch(target, uid)
        assert body_of(letter) == f"{body}\r\n".encode(), "the body is not what was written"
        proof = header_of(letter, "Authentication-Results") or ""
        assert "pass" in proof, f"the author is not shown as proved: {proof}"
        is_sealed(letter, target, uid, source)
        is_receipted(letter, subject, source, target)
        took.append(f"{seconds:.1f} s")
    return "arrived after " + " and ".join(took)


def is_sealed(letter, reader, uid, author):
    """The letter was signed by its author and sealed for its reader, who is told so."""
    verdicts = nodes.field_of(letter, "X-Onionskin-Verdict")
    start = f"known; signed and sealed by {author.address}"
    assert len(verdicts) == 1 and verdicts[0].startswith(start), f"the verdicts are {verdicts}"
    assert nodes.field_of(letter, "X-Onionskin-Signed"), "the signed header is not kept"
    flags = flags_of(reader, uid)
    assert not {"$Unsealed", "$Unverified"} & set(flags), f"the flags are {flags}"


def is_receipted(letter, subject, author, reader):
    """The saved letter proves its author, and the author's copy in Sent has the reader's signed receipt."""
    proved = json.loads(reader.command("verify", "-", "--json", input=letter))
    assert proved["verified"] and proved["from"] == author.address, proved
    sent = json.loads(author.command("inbox", "--folder", "Sent", "--json"))
    number = next(row["number"] for row in reversed(sent) if row["subject"] == subject)
    copy = author.command("read", "--folder", "Sent", "--raw", str(number))
    receipts = json.loads(author.command("verify", "-", "--json", input=copy))["receipts"]
    assert [row["reader"] for row in receipts] == [reader.address.partition("@")[2]], receipts
    assert receipts[0]["sha256"] == proved["sha256"], "the receipt is for another letter"


def echo_tells_a_proved_caller_when_its_letter_arrived(world):
    subject, begun = fresh("anybody there"), time.monotonic()
    echo = f"echo@{world.bob.address.partition('@')[2]}"
    before = world.bob.letter_count(), world.bob.letter_count("Requests")
    session = world.ann.submission()
    session.sendmail(world.ann.address, [echo], f"From: {world.ann.address}\r\nTo: {echo}\r\nSubject: {subject}\r\n\r\n")
    session.quit()

    def look():
        return next((one for one in world.ann.letters() if header_of(one, "From") == echo
                     and subject.encode() in body_of(one)), None)
    answer, _ = nodes.wait_until("the echo arrives", BACK_SECS, look, 0.2)
    took = time.monotonic() - begun
    assert "pass" in header_of(answer, "Authentication-Results"), answer
    times = [line for line in body_of(answer).decode().splitlines() if " +0000" in line or " s later" in line]
    assert len(times) >= 3 and all(":00 +0000" in line for line in times if "+0000" in line), times
    assert (world.bob.letter_count(), world.bob.letter_count("Requests")) == before, "bob keeps it"
    return f"there and back in {took:.1f} s; {' '.join(times[1].split())}"


def a_stranger_with_stock_tor_and_smtp_can_write_and_only_port_25_is_open(world):
    host = world.bob.address.partition("@")[2]
    subject = fresh("from a stranger")
    with StockTor(os.path.join(world.work, "stock")) as tor:
        stream = tor.connect_when_ready(host, 25, 120)
        session = smtplib.SMTP(timeout=60, local_hostname="stranger.example")
        session.sock = stream
        code, _ = session.getreply()
        assert code == 220, f"greeted with {code}"
        session.sendmail("stranger@example.org", [world.bob.address],
                         f"From: stranger@example.org\r\nSubject: {subject}\r\n\r\nHello.\r\n")
        code, said = session.docmd("RCPT", "TO:<x@example.org>")
        assert code >= 500, f"a recipient elsewhere was answered {code} {said}"
        session.quit()
        for port in 24, 26, 80, 143, 587, world.bob.imap, world.bob.smtp:
            answer = tor.connect(host, port)
            assert isinstance(answer, int), f"port {port} is open"
    uid, _ = arrives(world.bob, subject, BACK_SECS, mailbox="Requests")
    is_unverified(world.bob, uid, fetch(world.bob, uid, "Requests"))
    assert subject not in world.bob.header_values("Subject"), "it is in INBOX too"


def a_letter_to_a_stopped_node_arrives_by_itself(world):
    return absence(world, 10)


def absence(world, away):
    """Bob away for some time; gives how soon after his start the letter was there, nobody touching Ann.

    They have written to each other before: a node that comes back tells those whom it knows. To whom it does not know
    it is away until that one's next try.
    """
    acquainted = fresh("before you leave")
    world.write(world.ann, world.bob, acquainted, fresh("how do you do"))
    arrives(world.bob, acquainted, BACK_SECS)
    subject = fresh("while you were away")
    world.bob.stop()
    begun = time.monotonic()
    world.write(world.ann, world.bob, subject, fresh("it waited"))
    nodes.wait_until("the letter has been tried in vain", 90, lambda: tries(world.ann) > 0)
    time.sleep(max(0, away - (time.monotonic() - begun)))
    assert world.ann.status()["waiting"] == 1
    tried = tries(world.ann)
    world.bob.start()
    _, seconds = arrives(world.bob, subject, PATIENCE_SECS)
    nodes.wait_until("the queue knows it", 30, lambda: world.ann.status()["waiting"] == 0)
    assert seconds <= BACK_SECS, f"it took {seconds:.1f} s"
    return f"away for {time.monotonic() - begun - seconds:.0f} s, {tried} tries; there {seconds:.1f} s after the start"


def a_letter_arrives_by_a_holder_though_the_two_are_never_up_together(world):
    """Carol keeps letters for Bob. Ann writes while he is away, and is away herself when he comes back."""
    carol = world.third("carol")
    try:
        holds_for_bob(world, carol)
        world.bob.stop()
        subject = fresh("never up together")
        world.write(world.ann, world.bob, subject, fresh("sealed, at Carol's"))
        begun = time.monotonic()
        nodes.wait_until("a holder has it", 180, lambda: any(row["held_by"] for row in queue(world.ann)), 0.5)
        left = time.monotonic() - begun
        world.ann.stop()
        world.bob.start()
        uid, seconds = arrives(world.bob, subject, PATIENCE_SECS)
        is_sealed(fetch(world.bob, uid), world.bob, uid, world.ann)
        assert seconds <= BACK_SECS, f"it took {seconds:.1f} s"
        world.ann.start()
        nodes.wait_until("the receipt ends it", PATIENCE_SECS, lambda: not queue(world.ann), 0.5)
        sent = json.loads(world.ann.command("inbox", "--folder", "Sent", "--json"))
        number = next(row["number"] for row in reversed(sent) if row["subject"] == subject)
        copy = world.ann.command("read", "--folder", "Sent", "--raw", str(number))
        proved = json.loads(world.ann.command("verify", "-", "--json", input=copy))
        assert len(proved["receipts"]) == 1 and len(proved["custody"]) == 1, proved
        nodes.wait_until("Carol has nothing left", BACK_SECS,
                         lambda: holding(carol)["guests"][0]["letters"] == 0, 0.5)
        return (f"left at the drop after {left:.1f} s; there {seconds:.1f} s after Bob's start; "
                f"the custody and the receipt verify")
    finally:
        carol.kill()


def holds_for_bob(world, carol):
    """Somebody becomes a holder of Bob's, and Ann knows where letters for him can be left."""
    nodes.acquaint(world.ann, world.bob, carol)
    world.bob.command("holder", "ask", carol.address)
    nodes.wait_until("Carol is asked", BACK_SECS, lambda: holding(carol)["wishes"], 0.5)
    carol.command("holder", "grant", world.bob.address)
    nodes.wait_until("Bob is promised", BACK_SECS,
                     lambda: holder_row(world.bob, carol)["state"] == "keeps", 0.5)
    # The drop is an onion of its own, and needs its time to be found.
    nodes.wait_until("the drop answers", BACK_SECS, lambda: holder_row(world.bob, carol)["collected"], 1)
    known = fresh("where to find me")
    world.write(world.bob, world.ann, known, fresh("the Route goes with it"))
    arrives(world.ann, known, BACK_SECS)


def a_letter_too_large_for_holders_is_fetched_and_a_cancelled_one_is_called_back_from_them(world):
    """Dora keeps letters for Bob, who is away. Ann writes him a large one and a small one, and thinks better of that."""
    dora = world.third("dora")
    try:
        holds_for_bob(world, dora)
        world.ann.command("holder", "limit", "512K")
        world.bob.stop()
        body, large, small = film(1 << 20), fresh("too large for holders"), fresh("better not")
        world.write(world.ann, world.bob, small, fresh("a word too many"))
        nodes.wait_until("a holder has the small one", 180, lambda: any(row["held_by"] for row in queue(world.ann)), 0.5)
        shown = flags(world.ann, "Outbox", small)
        assert "$Held" in shown, f"the mail program is shown {shown}"
        world.write(world.ann, world.bob, large, body)
        number = next(row["number"] for row in queue(world.ann) if row["held_by"])
        begun = time.monotonic()
        world.ann.command("queue", "cancel", str(number))
        nodes.wait_until("Dora has nothing left", 180, lambda: holding(dora)["guests"][0]["letters"] == 0, 0.5)
        called_back = time.monotonic() - begun
        nodes.wait_until("the large one was tried", 120,
                         lambda: all(row["tries"] for row in queue(world.ann) if not row["errand"]), 0.5)
        assert not any(row["held_by"] for row in queue(world.ann)), queue(world.ann)
        before = world.ann.status()["sent_bytes"]
        world.bob.start()
        uid, seconds = arrives(world.bob, large, PATIENCE_SECS)
        assert body_of(fetch(world.bob, uid)) == f"{body}\r\n".encode(), "the body is not what was written"
        nodes.wait_until("the receipt ends it", PATIENCE_SECS,
                         lambda: not [row for row in queue(world.ann) if not row["errand"]], 0.5)
        pushed = world.ann.status()["sent_bytes"] - before
        assert pushed < len(body) / 2, f"Ann's node sent it: {pushed} bytes"
        assert small not in world.bob.header_values("Subject"), "what was called back arrived"
        world.bob.command("holder", "end", dora.address)
        nodes.wait_until("Dora is told of the end", BACK_SECS, lambda: all(row["over"] for row in holding(dora)["guests"]), 0.5)
        return (f"called back from the drop after {called_back:.1f} s; 1 MiB fetched {seconds:.1f} s after Bob's start, "
                f"{pushed} bytes pushed")
    finally:
        dora.kill()


def flags(node, mailbox, subject):
    """What a mail program is told of a letter."""
    session = node.mailbox(mailbox)
    _, found = session.uid("SEARCH", "SUBJECT", f'"{subject}"')
    _, data = session.uid("FETCH", found[0].decode().split()[0], "(FLAGS)")
    session.logout()
    return data[0].decode()


def holding(node):
    return json.loads(node.command("holder", "list", "--json"))


def holder_row(node, holder):
    """What the node says of one of its holders."""
    onion = holder.address.partition("@")[2]
    return next(row for row in holding(node)["holders"] if row["address"] == onion)


def tries(node):
    return max((row["tries"] for row in queue(node)), default=0)


def queue(node):
    import json
    listed = json.loads(node.command("queue", "list", "--json"))
    return listed["queue"] if isinstance(listed, dict) else listed


def a_frozen_network_carries_letters_again_when_it_thaws(world):
    return outage(world, "freeze", "thaw")


def a_killed_network_carries_letters_again_when_it_is_revived(world):
    return outage(world, "kill", "revive")


def outage(world, take, give):
    """The network away until both nodes say so, at least a minute; a letter written meanwhile arrives soon after."""
    subject = fresh("in the outage")
    testnet(take)
    gone = time.monotonic()
    world.write(world.ann, world.bob, subject, fresh("no way out"))
    nodes.wait_until("both nodes notice", PATIENCE_SECS,
                     lambda: not any(node.status()["reachable"] for node in world.pair), 0.5)
    noticed = time.monotonic() - gone
    time.sleep(max(0, AWAY_SECS - noticed))
    testnet(give)
    back = time.monotonic()
    arrives(world.bob, subject, PATIENCE_SECS)
    delivered = time.monotonic() - back
    for node in world.pair:
        world.reachable(node, PATIENCE_SECS)
    reachable = time.monotonic() - back
    late = f"noticed after {noticed:.0f} s; delivered {delivered:.1f} s and reachable at most {reachable:.1f} s after"
    assert max(delivered, reachable) <= BACK_SECS, late
    return late


def a_second_node_on_the_same_data_is_refused(world):
    done = subprocess.run([world.binary, "--data-dir", world.ann.data_dir, "up", "--network", world.network,
                           "--imap-port", "0", "--smtp-port", "0"], capture_output=True, timeout=60, text=True)
    assert done.returncode == 75, f"it ended {done.returncode}: {done.stderr}"  # EX_TEMPFAIL
    assert "running already" in done.stderr, done.stderr
    subject = fresh("still here")
    world.write(world.bob, world.ann, subject, "The first goes on.")
    arrives(world.ann, subject, BACK_SECS)
    return done.stderr.strip().splitlines()[0]


def told_to_end_a_node_ends_and_leaves_nothing_running(world):
    subject = fresh("last words")
    world.write(world.ann, world.bob, subject, "A session is open now.")
    arrives(world.bob, subject, BACK_SECS)
    idle = world.ann.mailbox()
    took = []
    for node in world.pair:
        process, begun = node.process, time.monotonic()
        node.stop()
        took.append(time.monotonic() - begun)
        assert process.returncode == 0, f"{node.name} ended {process.returncode}"
        left = processes_about(node.data_dir)
        assert not left, f"these processes are left: {left}"
        assert not os.path.exists(os.path.join(node.data_dir, "control.sock")), "the control socket is left"
    idle.shutdown()
    assert max(took) <= STOP_SECS, f"it took {max(took):.1f} s"
    return "ended after " + " and ".join(f"{seconds:.1f} s" for seconds in took)


def film(length=BIG_BYTES):
    """Fifty mebibytes in lines, or so many bytes."""
    lines = os.urandom(54 * 1024).hex()
    block = "\r\n".join(lines[at:at + 76] for at in range(0, len(lines), 76)) + "\r\n"
    return block * (length // len(block) + 1)


def fifty_mebibytes_arrive_unchanged_in_little_memory(world):
    body = film()
    subject, before = fresh("the film"), {node.name: mark_memory(node) for node in world.pair}
    begun = time.monotonic()
    world.write(world.ann, world.bob, subject, body)
    accepted = time.monotonic() - begun
    uid, _ = arrives(world.bob, subject, PATIENCE_SECS * 4, 1)
    arrived = time.monotonic() - begun
    growth = {node.name: memory(node)[1] - before[node.name] for node in world.pair}
    got = body_of(fetch(world.bob, uid))
    reading = memory(world.bob)[1] - before["bob"]
    wanted = hashlib.sha256((body + "\r\n").encode()).digest()
    assert hashlib.sha256(got).digest() == wanted, f"{len(got)} bytes arrived, other than the {len(body) + 2} sent"
    figures = (f"accepted after {accepted:.0f} s, there after {arrived:.0f} s; resident memory grew at most by "
               f"{growth['ann'] / 1024:.1f} MiB at the author, {growth['bob'] / 1024:.1f} MiB at the reader "
               f"({reading / 1024:.1f} MiB with reading it over IMAP), from {before['ann'] / 1024:.0f} and "
               f"{before['bob'] / 1024:.0f} MiB")
    assert max(*growth.values(), reading) <= GROWTH_MAX_KIB, figures
    return figures


def a_large_letter_that_is_cut_three_times_goes_on_where_it_broke_off(world):
    """The five relays are killed while it is under way. Counted is every byte that the author's node gave to a
    stream meanwhile: commands, the letter, and what was lost at the cuts. A reader whose own network comes back first
    fetches the rest: that is not counted, and ends the cuts."""
    body, subject, before = film(), fresh("the cut film"), world.ann.status()["sent_bytes"]
    sent = lambda: world.ann.status()["sent_bytes"] - before
    begun = time.monotonic()
    world.write(world.ann, world.bob, subject, body)
    cuts = []
    for number in range(1, CUTS + 1):
        wanted = number * BIG_BYTES // (CUTS + 1)
        nodes.wait_until(f"{wanted} bytes are out", PATIENCE_SECS,
                         lambda: sent() >= wanted or not queue(world.ann) or hasten(world.ann), 0.05)
        if cuts and not queue(world.ann):
            cuts.append("the rest was fetched")
            break
        cuts.append(f"{sent() / 2**20:.1f} MiB (noticed after {cut(world):.1f} s)")
    nodes.wait_until("the rest is out", PATIENCE_SECS, lambda: not queue(world.ann) or hasten(world.ann), 0.5)
    uid, _ = arrives(world.bob, subject, PATIENCE_SECS * 4, 1)
    seconds = time.monotonic() - begun
    nodes.wait_until("the queue knows it", 30, lambda: world.ann.status()["waiting"] == 0)
    cost = sent()
    got = body_of(fetch(world.bob, uid))
    wanted = (body + "\r\n").encode()
    assert hashlib.sha256(got).digest() == hashlib.sha256(wanted).digest(), f"{len(got)} bytes, other than those sent"
    over = cost / len(wanted) - 1
    figures = (f"cut at {', '.join(cuts)}; there after {seconds:.0f} s; {cost} bytes sent for {len(wanted)}, "
               f"{100 * over:.1f} % more")
    assert over <= OVER_MAX, figures
    time.sleep(5)
    arrives(world.bob, subject, 1)
    return figures


def hasten(node):
    """Has a letter tried at once whose last try has failed, rather than wait for minutes. A try under way is let be."""
    if any(row["next_try_in_secs"] > 2 for row in queue(node)):
        node.command("queue", "retry")


def cut(world):
    """Kills the relays at once, and starts them again when the letter under way has broken off."""
    assert queue(world.ann), "the letter is out already"
    tried = tries(world.ann)
    testnet("kill", *RELAYS)
    try:
        return nodes.wait_until("the try has failed", CUT_SECS, lambda: tries(world.ann) > tried)[1]
    finally:
        testnet("revive", *RELAYS)


def the_disk_holds_no_address_no_key_no_words_and_no_letter(world):
    """After all the others, so that the nodes have done all they do; while they run, and after a kill."""
    if len(world.written) < 4:
        letters_go_both_ways(world)
    needles = {}
    for node in world.pair:
        entropy, words = leaks.PEOPLE[node.name]
        needles |= leaks.of_identity(words, bytes.fromhex(entropy))
        host = node.address.partition("@")[2].removesuffix(".onion").encode()
        assert needles.get(host) == "address", "the key derived here is not the node's"
        needles[node.password.encode()] = "app password"
    for text in world.written:
        needles |= dict.fromkeys(leaks.text_spellings(text), "subject or body")
    missed = leaks.planted(os.path.join(world.work, "planted"), needles)
    assert not missed, f"the search does not find {missed[:5]}"
    files = 0
    for _ in range(2):
        for node in world.pair:
            found, read = leaks.search(node.data_dir, needles)
            assert not found, f"found: {sorted(set(found))[:10]}"
            assert read > 5, f"only {read} files in {node.data_dir}"
            files += read
            node.kill()
    return f"{len(needles)} needles in {files} files"


ALL = [letters_go_both_ways, echo_tells_a_proved_caller_when_its_letter_arrived,
       a_stranger_with_stock_tor_and_smtp_can_write_and_only_port_25_is_open,
       a_letter_to_a_stopped_node_arrives_by_itself,
       a_letter_arrives_by_a_holder_though_the_two_are_never_up_together,
       a_letter_too_large_for_holders_is_fetched_and_a_cancelled_one_is_called_back_from_them,
       guests.a_guest_without_a_node_reads_by_stock_tor_imap_and_age, a_second_node_on_the_same_data_is_refused,
       told_to_end_a_node_ends_and_leaves_nothing_running, fifty_mebibytes_arrive_unchanged_in_little_memory,
       a_large_letter_that_is_cut_three_times_goes_on_where_it_broke_off,
       a_frozen_network_carries_letters_again_when_it_thaws, a_killed_network_carries_letters_again_when_it_is_revived,
       the_disk_holds_no_address_no_key_no_words_and_no_letter]


def a_letter_to_a_node_away_for_ten_minutes_arrives_by_itself(world):
    return absence(world, LONG_AWAY_SECS)


LONG = [a_letter_to_a_node_away_for_ten_minutes_arrives_by_itself]
