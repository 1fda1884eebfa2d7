"""Hostile SMTP on the onion port and on submission: commands, ends of DATA, floods, slow and silent callers.

A case is (name, face, function of the world and of a list of streams that stay open while the next client is served).
"""
import time

import nodes
from world import STRANGER, Hub, Talk, Tcp, codes

CASES = []
SMTP = ("onion", "submission")


def case(name, faces=SMTP):
    def add(function):
        for face in faces:
            CASES.append((name, face, lambda world, held, face=face: function(world, face, held)))
        return function
    return add


def refused_and_closed(said, *allowed):
    """The last thing said is one refusal, then the stream ended."""
    found = codes(said)
    assert found and found[-1] in allowed, f"answered {found[-5:]}, {said[-200:]!r}"


def envelope(world, face, size=""):
    return f"MAIL FROM:<{world.sender(face)}>{size}\r\nRCPT TO:<{world.bob.address}>\r\n"


@case("a command of 1 MB")
def long_command(world, face, _):
    with world.talk(face) as talk:
        refused_and_closed(talk.flood([b"NOOP " + b"x" * 1_000_000 + b"\r\n"]), 500)


@case("8 MB without a line end")
def no_line_end(world, face, _):
    with world.talk(face) as talk:
        refused_and_closed(talk.flood([b"x" * 65536] * 128), 500)


@case("NUL and other control characters in commands")
def nul(world, face, _):
    with world.talk(face) as talk:
        for line in (b"NO\0OP\r\n", b"\0\r\n", b"MAIL FROM:<a\0@b>\r\n", b"EHLO a\0b\r\n", b"\x1b[2J\r\n", b"\xff\xfe\r\n"):
            code, text = talk.say(line, 500, 501, 502, 503, 553, 550)
            assert text.isprintable() or "\n" in text, text
        talk.say("NOOP\r\n", 250)


@case("20,000 RCPT")
def many_recipients(world, face, _):
    with world.talk(face) as talk:
        talk.say(f"MAIL FROM:<{world.sender(face)}>\r\n", 250)
        name, host = world.bob.address.split("@")
        said = codes(talk.flood([f"RCPT TO:<{name}+{at}@{host}>\r\n".encode() for at in range(20_000)]))
        assert said.count(250) <= 100 and 452 in said, said[:5]
        assert said[-1] == 421, said[-3:]


@case("200,000 NOOP")
def many_noops(world, face, _):
    with world.talk(face) as talk:
        said = codes(talk.flood([b"NOOP\r\n" * 2000] * 100))
        assert said[-1] == 421 and len(said) <= 1002, (said[-3:], len(said))


@case("200,000 commands that are none")
def many_mistakes(world, face, _):
    with world.talk(face) as talk:
        said = codes(talk.flood([b"XYZZY\r\n" * 2000] * 100))
        assert said[-1] == 421 and len(said) <= 25, said[-3:]


@case("absurd sizes in MAIL and BDAT")
def absurd_size(world, face, _):
    for size, allowed in (("99999999999999999999999", (501, 552)), ("18446744073709551616", (501, 552)),
                          ("-1", (501,)), ("1e9", (501,)), ("", (501,)), ("67108865", (552,))):
        with world.talk(face) as talk:
            talk.say(f"MAIL FROM:<{world.sender(face)}> SIZE={size}\r\n", *allowed)
    for size in ("99999999999999999999999", "18446744073709551616", "-1", "0x10", "", "5 FIRST"):
        with world.talk(face) as talk:
            talk.send(envelope(world, face))
            talk.expect(250)
            talk.expect(250)
            talk.send(f"BDAT {size}\r\nQUIT\r\n")
            refused_and_closed(talk.rest(), 501, 552)
    with world.talk(face) as talk:
        talk.send(envelope(world, face))
        talk.expect(250)
        talk.expect(250)
        # A length that could be, and is too long: everything is thrown away up to a bound, nothing is kept.
        said = talk.flood([b"BDAT 18446744073709551615 LAST\r\n"] + [b"x" * 65536] * 64)
        refused_and_closed(said, 552, 421, 501)


@case("20,000 empty chunks")
def empty_chunks(world, face, _):
    with world.talk(face) as talk:
        talk.send(envelope(world, face))
        said = codes(talk.flood([b"BDAT 0\r\n" * 1000] * 20))
        assert said[-1] == 421 and len(said) <= 1010, (said[-3:], len(said))


# How a text can seem to end to one reader and go on for another. Behind each, commands for a second letter.
ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\rX", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n",
        b"\r\r\n.\r\n", b"\n\n.\n\n", b"\n\r.\r\n", b"\r\n\n.\r\n", b"\r\n.\n\r\n", b"\r.\n", b"\n.\r", b"\r\n\r.\r\n",
        b"\r\n.\r\r", b"x\n", b"x\r", b"\r\n..\r.\r\n"]
# These are no ends either, but there is nothing wrong with their lines: they are content.
CONTENT = [b"\r\n..\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.x\r\n", b"\r\n.\t\r\n", b"\r\n.\x0b\r\n", b"\r\n.\x85\r\n",
           b"\r\n\xe2\x80\xa8.\r\n", b"\r\n\x0c.\r\n", b"\r\n...\r\n"]


def smuggling(world, face, end, is_content):
    """A text with that end inside, and a second letter's commands behind it: one letter or none, never two."""
    outer, evil = world.subject("outer"), world.subject("smuggled")
    behind = (f"{envelope(world, face)}DATA\r\nFrom: {world.sender(face)}\r\nSubject: {evil}\r\n\r\n"
              "hello\r\n.\r\nQUIT\r\n").encode()
    with world.talk(face) as talk:
        talk.send(envelope(world, face) + "DATA\r\n")
        [talk.expect(250), talk.expect(250), talk.expect(354)]
        said = talk.flood([f"From: {world.sender(face)}\r\nSubject: {outer}\r\n\r\nbody".encode() + end + behind])
    if is_content:
        assert codes(said) == [250, 221], said
    else:
        # One answer to the one letter, with a text that says what was wrong; nothing behind it is looked at.
        assert codes(said) == [554] and b"CRLF" in said, said
    subjects = world.subjects(world.folder(face))
    assert evil not in subjects and (outer in subjects) == is_content, subjects[-4:]


for end, is_content in [(end, False) for end in ENDS] + [(end, True) for end in CONTENT]:
    case(f"{'content' if is_content else 'false end'} {ascii(end)[2:-1]}, commands behind it")(
        lambda world, face, _, end=end, is_content=is_content: smuggling(world, face, end, is_content))


@case("bare CR and LF in chunks and in commands")
def bare_ends(world, face, _):
    for bad in (b"a\nb", b"a\rb", b"a\r\r\nb", b"a\r", b"a\0b"):
        with world.talk(face) as talk:
            letter = f"From: {world.sender(face)}\r\nSubject: bare\r\n\r\n".encode() + bad
            code, text = world.chunk(talk, face, letter, 554)
            talk.say("NOOP\r\n", 250)  # the length is known, so the session goes on
    for bad in (b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"NOOP\r\r\n", b"\n\r\n", b"RCPT TO:<a\r@b>\r\n"):
        with world.talk(face) as talk:
            refused_and_closed(talk.flood([bad, b"NOOP\r\n"]), 500)
    assert "bare" not in world.subjects(world.folder(face))


@case("commands pipelined behind DATA and behind its end")
def pipelined(world, face, _):
    first, second = world.subject("pipelined"), world.subject("pipelined")
    text = "DATA\r\nFrom: {}\r\nSubject: {}\r\n\r\nx\r\n.\r\n"
    one = envelope(world, face) + text.format(world.sender(face), first)
    two = envelope(world, face) + text.format(world.sender(face), second)
    with world.talk(face) as talk:
        said = codes(talk.flood([(one + two + "NOOP\r\nQUIT\r\n").encode()]))
        assert said == [250, 250, 354, 250] * 2 + [250, 221], said
    assert world.subjects(world.folder(face))[-2:] == [first, second] or {first, second} <= set(world.subjects(world.folder(face))[-6:])
    # DATA is refused: what follows it is taken for commands, and is no letter.
    with world.talk(face) as talk:
        said = codes(talk.flood([f"MAIL FROM:<{world.sender(face)}>\r\n".encode()
                                 + text.format(world.sender(face), "no letter").encode() + b"QUIT\r\n"]))
        assert said[0] == 250 and said[1] == 503 and all(code >= 500 for code in said[2:-1]), said
    assert "no letter" not in world.subjects(world.folder(face))


@case("a line of 10 MB and NULs inside DATA")
def long_text_line(world, face, _):
    for body in (b"x" * 10_000_000 + b"\r\n.\r\n", b"\0" * 1_000_000 + b"\r\n.\r\n", b"x" * 999 + b"\r\n.\r\n"):
        with world.talk(face) as talk:
            talk.send(envelope(world, face) + "DATA\r\n")
            [talk.expect(250), talk.expect(250), talk.expect(354)]
            talk.send(f"From: {world.sender(face)}\r\nSubject: long line\r\n\r\n".encode())
            talk.send(body)
            code, text = talk.expect(554)
            assert "998" in text or "NUL" in text, text
            talk.say("NOOP\r\n", 250)
    assert "long line" not in world.subjects(world.folder(face))


@case("a letter beyond the limit, without end")
def endless_letter(world, face, _):
    with world.talk(face, timeout=60) as talk:
        talk.send(envelope(world, face) + "DATA\r\n")
        [talk.expect(250), talk.expect(250), talk.expect(354)]
        line = b"y" * 78 + b"\r\n"
        pieces = [f"From: {world.sender(face)}\r\n\r\n".encode()] + [line * 3200] * 600
        said = talk.flood(pieces)
        refused_and_closed(said, 552)


@case("lost in the middle of a letter, 200 times")
def drop_inside(world, face, _):
    for number in range(200):
        with world.talk(face) as talk:
            talk.send(envelope(world, face) + ("DATA\r\n" if number % 2 else "BDAT 100000 LAST\r\n"))
            [talk.expect(250), talk.expect(250)]
            talk.send(f"From: {world.sender(face)}\r\nSubject: dropped\r\n\r\n".encode() + b"half a letter\r\n" * 100)
    assert "dropped" not in world.subjects(world.folder(face))


@case("half closed in the middle of everything")
def half_closed(world, face, _):
    for said in (b"", b"NOO", b"NOOP\r\n", (envelope(world, face) + "DATA\r\nFrom: x\r\n\r\nhalf").encode(),
                 (envelope(world, face) + "BDAT 100\r\nhalf").encode(), b"AUTH PLAIN\r\n", b"AUTH PLAIN AAA"):
        with world.talk(face) as talk:
            talk.send(said)
            talk.stream.half_close()
            begun = time.monotonic()
            talk.rest()
            assert time.monotonic() - begun < 5, "the node does not notice that nothing more will come"


@case("a caller that never reads")
def never_reads(world, face, held):
    for _ in range(20):
        talk = world.talk(face)
        held.append(talk.stream)
        talk.stream.timeout(0.3)
        try:
            for _ in range(200):
                talk.send(b"HELP\r\n" * 1000)
        except OSError:
            pass


def silent(world, face, number, held):
    for _ in range(number):
        held.append(Hub(world.hub_socket, STRANGER, world.host, 30) if face == "onion" else Tcp(world.bob.smtp, 30))


@case("1,000 connections that say nothing")
def idle(world, face, held):
    silent(world, face, 1000, held)


@case("1,200 connections that say nothing, more than there are places")
def idle_beyond(world, face, held):
    silent(world, face, 1200, held)


@case("200 connections of one byte a second")
def slow(world, face, held):
    talks = [Talk(Hub(world.hub_socket, STRANGER, world.host, 30) if face == "onion" else Tcp(world.bob.smtp, 30))
             for _ in range(200)]
    held += [talk.stream for talk in talks]
    for byte in b"EHLO":
        for talk in talks:
            talk.send(bytes([byte]))
        time.sleep(1)


@case("an Internet browser, TLS, SSH, random bytes")
def other_protocols(world, face, _):
    for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"z" * 600,
                  b"SSH-2.0-OpenSSH_9.9\r\n", bytes(range(256)) * 64):
        with world.talk(face, **({"greet": False} if face == "onion" else {"login": False})) as talk:
            talk.flood([hello, b"\r\nQUIT\r\n"])


@case("a letter that has circled")
def circled(world, face, _):
    if face != "onion":
        return
    with world.talk(face) as talk:
        code, text = world.letter(talk, face, "circled", b"x\r\n", 554, b"Received: by a; Thu, 1 Jan 2026 00:00:00 +0000\r\n" * 101)
        assert "circle" in text.lower() or "loop" in text.lower() or "Received" in text, text


@case("bad base64 and bombs in SASL", ("submission",))
def sasl(world, face, _):
    for response in ("====", "!!!!", "AAA", "A" * 12000, "*", "", "AHg" + "=" * 40):
        with world.submission(login=False) as talk:
            code, _text = talk.say(f"AUTH PLAIN {response}\r\n", 501, 535, 334, 500)
            if code == 334:
                talk.say("=\0=\r\n", 501, 535)
    with world.submission(login=False) as talk:
        refused_and_closed(talk.flood([b"AUTH PLAIN " + b"A" * 1_000_000 + b"\r\n"]), 500)
    for first in (b"n,,n=x,r=" + b"r" * 8000, b"y,,n==2C,r=", b"p=x,,n=a,r=b", b",,,,", b"n,,n=,r="):
        import base64
        with world.submission(login=False) as talk:
            code, _text = talk.say(b"AUTH SCRAM-SHA-256 " + base64.b64encode(first) + b"\r\n", 334, 501, 535, 500)
            if code == 334:
                talk.say(base64.b64encode(b"c=biws,r=zzz,p=AAAA") + b"\r\n", 535, 501)


@case("wrong passwords without end", ("submission",))
def guesses(world, face, _):
    import base64
    wrong = base64.b64encode(f"\0{world.bob.user}\0wrong".encode())
    for _ in range(5):
        with world.submission(login=False) as talk:
            said = codes(talk.flood([b"AUTH PLAIN " + wrong + b"\r\n"] * 50))
            assert said.count(535) <= 3 and said[-1] in (421, 535), said
