"""Hostile IMAP: before login and after it."""
import base64
import time

import nodes
from world import Talk, Tcp

CASES = []


def case(name):
    def add(function):
        CASES.append((name, "imap", function))
        return function
    return add


def ended(said, *words):
    """The last line is a BYE or a refusal that holds one of the words, then the stream ended."""
    last = said.rstrip().split(b"\n")[-1]
    assert any(word in last for word in words), said[-300:]


def bare(world):
    return world.imap(login=False)


def literal(talk, start, size, plus=False):
    """Announces a literal; the answer's first line."""
    talk.send(f"a {start} {{{size}{'+' if plus else ''}}}\r\n")
    return talk.line() or b""


@case("a command of 1 MB before login")
def long_line(world, _):
    with bare(world) as talk:
        ended(talk.flood([b"a LOGIN " + b"x" * 1_000_000 + b" y\r\n"]), b"BYE", b"BAD")


@case("8 MB without a line end, before and after login")
def no_line_end(world, _):
    for talk in (bare(world), world.imap()):
        with talk:
            ended(talk.flood([b"x" * 65536] * 128), b"BYE", b"BAD")


@case("a literal of 4 GB before login")
def literal_before_login(world, _):
    for plus in (False, True):
        for size in (4294967295, 4294967296, 99999999999999999999999):
            with bare(world) as talk:
                line = literal(talk, "LOGIN", size, plus)
                assert not line.startswith(b"+"), line
                assert b"NO" in line or b"BAD" in line or b"BYE" in line, line
                if plus:
                    talk.flood([b"x" * 65536] * 64)


@case("a literal of 4 GB after login")
def literal_after_login(world, _):
    for start in ("SELECT", "APPEND INBOX", "SEARCH TEXT", "LIST \"\""):
        for plus in (False, True):
            with world.imap() as talk:
                line = literal(talk, start, 4294967295, plus)
                assert not line.startswith(b"+") and b"OK" not in line, line
                if plus:
                    talk.flood([b"x" * 65536] * 64)


@case("a letter larger than the limit by APPEND")
def large_append(world, _):
    with world.imap() as talk:
        line = literal(talk, "APPEND INBOX", 64 * 1024 * 1024 + 1)
        assert b"TOOBIG" in line or b"LIMIT" in line, line
        talk.ok("NOOP")


@case("lost in the middle of APPEND, 100 times")
def lost_append(world, _):
    with world.imap() as talk:
        before = len(talk.ok("UID FETCH 1:* UID"))
    for _ in range(100):
        with world.imap(select=None) as talk:
            assert literal(talk, "APPEND INBOX", 100_000).startswith(b"+")
            talk.send(b"From: a@b\r\n\r\n" + b"half\r\n" * 100)
    with world.imap() as talk:
        assert len(talk.ok("UID FETCH 1:* UID")) == before


@case("NUL, control characters, and a million empty lines")
def nul(world, _):
    for line in (b"a\0 NOOP\r\n", b"a NO\0OP\r\n", b"\0\0\0\r\n", b"a LOGIN \"\0\" x\r\n", b"\xff\xfe\r\n", b"\r\n" * 30):
        with bare(world) as talk:
            said = talk.flood([line])
            assert b"OK NOOP" not in said and b"\0" not in said, said
    with bare(world) as talk:
        ended(talk.flood([b"\r\n" * 10_000] * 100), b"BYE", b"BAD")


@case("200,000 NOOP")
def noops(world, _):
    with bare(world) as talk:
        said = talk.flood([b"a NOOP\r\n" * 2000] * 100)
        assert said.count(b"a OK") == 200_000 or b"BYE" in said, said[-200:]


@case("200,000 commands that are none")
def mistakes(world, _):
    with bare(world) as talk:
        said = talk.flood([b"a XYZZY\r\n" * 2000] * 100)
        assert said.count(b"BAD") <= 25 and b"BYE" in said, said[-300:]


@case("bad base64 and bombs in AUTHENTICATE")
def authenticate(world, _):
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        for response in (b"====", b"!!!!", b"AAA", b"*", b"", b"A" * 3000, b"\0", base64.b64encode(b"n,,n=x,r=" + b"r" * 2000)):
            with bare(world) as talk:
                talk.send(f"a AUTHENTICATE {mechanism}\r\n")
                assert talk.line().startswith(b"+")
                talk.send(response + b"\r\n")
                line = talk.line()
                assert line.startswith((b"a NO", b"a BAD", b"* BYE", b"+")), line
    with bare(world) as talk:
        ended(talk.flood([b"a AUTHENTICATE PLAIN " + b"A" * 1_000_000 + b"\r\n"]), b"BYE", b"BAD")


@case("wrong passwords without end")
def guesses(world, _):
    for _ in range(10):
        with bare(world) as talk:
            said = talk.flood([f'a LOGIN "{world.bob.user}" wrong\r\n'.encode() * 50])
            assert said.count(b"a NO") <= 3 and b"BYE" in said, said[-300:]


@case("everything that needs a login, without one")
def without_login(world, _):
    for command in ("SELECT INBOX", "FETCH 1 ALL", "LIST \"\" *", "IDLE", "UID EXPUNGE 1:*", "CREATE x"):
        with bare(world) as talk:
            said = talk.flood([f"a {command}\r\n".encode()])
            assert b"a BAD" in said or b"a NO" in said, said


def refused(world, *commands, allowed=(b"BAD", b"NO")):
    with world.imap() as talk:
        for command in commands:
            _, tagged = talk.command(command)
            assert tagged.startswith(allowed), (command[:80], tagged)
            assert len(tagged) > 8, tagged
    with world.imap() as talk:
        talk.ok("NOOP")


@case("parentheses without end")
def parentheses(world, _):
    refused(world, "SEARCH " + "(" * 30_000, "SEARCH " + "(" * 30_000 + "ALL" + ")" * 30_000, "FETCH 1 " + "(" * 30_000,
            "LIST (" + "(" * 30_000, "STATUS INBOX " + "(" * 60_000, "ID " + "(" * 60_000)


@case("OR and NOT nested 10,000 deep, and 10,000 keys")
def deep_search(world, _):
    refused(world, "SEARCH " + "NOT " * 10_000 + "ALL", "SEARCH " + "OR ALL " * 8000 + "ALL", "SEARCH " + "OR " * 5000 + "ALL " * 5001,
            "SEARCH " + "ALL " * 10_000, "SEARCH " + "OR SEEN NOT " * 5000 + "SEEN")


@case("a SEARCH for 100 texts")
def many_needles(world, _):
    with world.imap("Sent") as talk:
        talk.command("SEARCH " + " ".join(f'TEXT "needle {at}"' for at in range(100)))
        talk.command("SEARCH " + " ".join(f'NOT HEADER X-{at} y' for at in range(100)))


@case("LIST patterns of wildcards")
def wildcards(world, _):
    with world.imap(select=None) as talk:
        for level in range(1, 8):
            talk.command("CREATE " + "/".join(["aaaaaaaaaaaaaaaaaaaa"] * level))
        for pattern in ("*" * 200 + "b", "*a" * 100 + "b", "%a*" * 80 + "b", "%/" * 100, "*" * 60_000, "%*%*" * 4000 + "x", "*a" * 20_000):
            _, tagged = talk.command(f'LIST "" "{pattern}"')
            assert tagged.startswith((b"OK", b"BAD", b"NO", b"")), tagged
            _, tagged = talk.command(f'LSUB "" "{pattern}"')


@case("../ and names 1,000 levels deep")
def names(world, _):
    evil = ("../../etc/passwd", "..", "/etc/passwd", "a//b", "a/../b", "/".join(["a"] * 1000), "x" * 10_000, "a\\0", "&", "&AAA",
            "&AAAAAAAA-", "&AC8-", "&2AA-", "a/", "/", "", "~root", "%", "*", "INBOX/../x", "\x7f")
    for name in evil:
        with world.imap(select=None) as talk:
            _, tagged = talk.command(f'CREATE "{name}"')
            assert tagged.startswith((b"OK", b"NO", b"BAD")), (name[:40], tagged)
            for command in ("SELECT", "SUBSCRIBE", "DELETE"):
                talk.command(f'{command} "{name}"')
    with world.imap(select=None) as talk:
        _, tagged = talk.command("CREATE " + "/".join(["a"] * 1000))
        assert tagged.startswith((b"NO", b"BAD")), tagged
        assert not any(b".." in line and b"etc" in line for line in talk.ok('LIST "" *'))


@case("sequence sets without end")
def sets(world, _):
    with world.imap() as talk:
        for numbers in (",".join(["1:*"] * 10_000), ",".join(str(at) for at in range(1, 9000)), "4294967295:1,*:*", ",".join(["*:1"] * 10_000),
                        "4294967295", "1:4294967295"):
            _, tagged = talk.command(f"UID FETCH {numbers} (UID)")
            assert tagged.startswith((b"OK", b"NO", b"BAD")), tagged
            _, tagged = talk.command(f"UID SEARCH UID {numbers}")
    refused(world, "FETCH 0 UID", "FETCH 4294967296 UID", "FETCH 99999999999999999999 UID", "FETCH -1 UID", "FETCH 1:: UID", "FETCH 1, UID")


@case("partial FETCH beyond every number")
def partial(world, _):
    with world.imap() as talk:
        for part in ("<0.4294967295>", "<4294967295.4294967295>", "<18446744073709551615.1>", "<18446744073709551615.18446744073709551615>",
                     "<99999999999999999999999.1>", "<1.0>", "<-1.1>", "<1>", "<1.1"):
            _, tagged = talk.command(f"FETCH 1 BODY.PEEK[]{part}")
            assert tagged.startswith((b"OK", b"NO", b"BAD")), (part, tagged)


@case("FETCH of 10,000 items, sections and field names")
def many_items(world, _):
    refused(world, "FETCH 1 (" + " ".join(["UID"] * 10_000) + ")", f"FETCH 1 BODY[{'.'.join(['1'] * 10_000)}]",
            f"FETCH 1 BODY[HEADER.FIELDS ({' '.join(['x'] * 10_000)})]", "FETCH 1 BODY[" + "9" * 1000 + "]", "STATUS INBOX (" + "UNSEEN " * 9000 + ")")


@case("10,000 flags, and flags of 10,000 characters")
def flags(world, _):
    refused(world, "STORE 1 +FLAGS (" + " ".join(f"f{at}" for at in range(10_000)) + ")", "STORE 1 +FLAGS (" + "x" * 10_000 + ")")


@case("all letters 64 times in one FETCH that nobody reads")
def never_reads(world, held):
    for _ in range(4):
        talk = world.imap("Requests")
        held.append(talk.stream)
        talk.send("a FETCH 1:* (" + " ".join(["BODY.PEEK[]", "BODY.PEEK[TEXT]"] * 30) + ")\r\n")
    time.sleep(0.5)


@case("200 commands in one flight, not waited for")
def pipelined(world, _):
    with world.imap() as talk:
        said = talk.flood([b"".join(b"p%d UID SEARCH ALL\r\np%d NOOP\r\n" % (at, at) for at in range(100)) + b"z LOGOUT\r\n"])
        assert said.count(b" OK ") >= 201 and b"z OK" in said, said[-200:]


@case("half closed in the middle of everything")
def half_closed(world, _):
    for said in (b"", b"a NOO", b"a NOOP\r\n", b"a IDLE\r\n", b"a APPEND INBOX {100}\r\n", b"a LOGIN {5}\r\n", b"a AUTHENTICATE PLAIN\r\n"):
        for talk in (bare(world), world.imap()):
            with talk:
                talk.send(said)
                talk.stream.half_close()
                begun = time.monotonic()
                talk.rest()
                assert time.monotonic() - begun < 5, "the node does not notice that nothing more will come"


@case("1,000 connections that say nothing")
def idle(world, held):
    for _ in range(1000):
        held.append(Tcp(world.bob.imap))


@case("200 connections of one byte a second")
def slow(world, held):
    talks = [Talk(Tcp(world.bob.imap)) for _ in range(200)]
    held += [talk.stream for talk in talks]
    for byte in b"a LO":
        for talk in talks:
            talk.send(bytes([byte]))
        time.sleep(1)


@case("200 connections that have logged in and idle")
def logged_in(world, held):
    """More than there are places: those beyond are told so, in words."""
    welcome = 0
    for _ in range(200):
        talk = world.imap()
        held.append(talk.stream)
        talk.send("i IDLE\r\n")
        assert talk.line().startswith(b"+")
        welcome += 1
    assert welcome == 200


@case("TLS, HTTP, random bytes")
def other_protocols(world, _):
    for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"z" * 600, bytes(range(256)) * 64):
        with bare(world) as talk:
            talk.flood([hello, b"\r\n"])
