"""Hostile words of ONIONSKIN 1: CARD, and sealed letters that are noise, lie about what is in them, or break off.

Holds what it takes to write a letter as its author would, and to lie in every part of it: CBOR, statements, the frame
and the padding. The sealing alone is done by examples/seal.rs, which seals whatever it is given.
"""
import base64
import hashlib
import os
import subprocess
import time

from proof_cases import Key, hello, proof
from world import codes

CASES = []
HEAD_LEN = 1627 + 16  # the header of the file and the nonce
CHUNK_LEN = 65536
HEADER_LEN_MAX = 96 * 1024


def case(name):
    def add(function):
        CASES.append((name, "onion", function))
        return function
    return add


# CBOR (RFC 8949), as much of it as statements need

def head(major, number):
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << 8 * size:
            return bytes([major << 5 | extra]) + number.to_bytes(size, "big")
    raise ValueError(number)


def cbor(item):
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(cbor, item))
    pairs = sorted((cbor(key), cbor(value)) for key, value in item.items())
    return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)


def read(data, at=0):
    """The item that begins there, and where it ends."""
    major, number = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return number == 21, at
    if number >= 24:
        size = 1 << number - 24
        number, at = int.from_bytes(data[at:at + size], "big"), at + size
    if major < 2:
        return (number if major == 0 else -1 - number), at
    if major < 4:
        text = data[at:at + number]
        return (text if major == 2 else text.decode()), at + number
    items = []
    for _ in range(number * (2 if major == 5 else 1)):
        item, at = read(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


# Statements

class Author:
    """Somebody who can sign: an identity and its device."""

    def __init__(self, scope=3, until=None):
        self.identity, self.device = Key(), Key()
        self.host, self.hour = self.identity.host, int(time.time()) // 3600 * 3600
        until = until or self.hour + 30 * 86400
        payload = cbor({0: self.device.public, 1: scope, 2: self.hour, 3: until})
        self.certificate = self.statement("certificate", payload, self.identity, None)

    def statement(self, kind, payload, signer, certificate):
        header = {1: -8, 4: self.identity.public, 16: f"application/vnd.onionskin.{kind}", -70001: 1}
        if certificate:
            header[-70002] = certificate
        context = b"onionskin/1 " + kind.encode() + b"\0"
        signature = signer.sign(cbor(["Signature1", cbor(header), context, payload]))
        return cbor([cbor(header), {}, payload, signature])

    def header(self, to, letter, kind="letter", **other):
        """The signed header of a letter; `other` are fields that are not what they should be, by their names."""
        names = ["to", "id", "length", "digest", "suite", "made", "receipt"]
        values = [to, os.urandom(16), len(letter), hashlib.sha256(letter).digest(), 1, self.hour, True]
        fields = dict(zip(names, values)) | other
        payload = cbor({number: fields[name] for number, name in enumerate(names)})
        return self.statement(kind, payload, self.device, self.certificate)

    def letter(self, subject, body=b"x\r\n"):
        return f"From: eve@{self.host}\r\nSubject: {subject}\r\n\r\n".encode() + body


def padded(length):
    for size in (4096, 8192, 16384, 32768, 65536):
        if length <= size:
            return size
    exponent = length.bit_length() - 1
    step = 1 << exponent - (exponent.bit_length() - 1) - 1
    return -(-length // step) * step


def inside(frame, letter, announced=None):
    """What is sealed; `announced` is said of the frame's length, and is a lie."""
    plain = (len(frame) if announced is None else announced).to_bytes(4, "big") + frame + letter
    return plain + bytes(padded(len(plain)) - len(plain))


def card(world):
    """Bob's Card, as CARD gives it to anybody: its bytes."""
    with world.onion(Key().host) as talk:
        _, text = talk.say("CARD\r\n", 250)
    return base64.b64decode("".join(line.split()[-1] for line in text.split("\n")[1:]))


def prekey(world):
    """The public half of Bob's current prekey."""
    (_, _, payload, _), _ = read(card(world))
    return read(payload)[0][7][0][0]


def key_id(key):
    return hashlib.sha256(key).hexdigest()[:16]


def seal(world, key, plain):
    command = [world.seal_program, "raw", os.urandom(32).hex(), key.hex()]
    return subprocess.run(command, input=plain, capture_output=True, timeout=60, check=True).stdout


def envelope(world, sender, size, key, more=""):
    return (f"MAIL FROM:<{sender}> SIZE={size} BODY=SEALED KEY={key}{more}\r\nRCPT TO:<{world.bob.address}>\r\n")


def give(talk, world, sender, file, key, *expect):
    """Hands over a sealed letter in one flight; the answer to its end."""
    talk.send(envelope(world, sender, len(file), key_id(key)))
    [talk.expect(250), talk.expect(250)]
    talk.send(f"BDAT {len(file)} LAST\r\n".encode() + file)
    return talk.expect(*expect)


def refused(world, author, key, plain, *words, code=550):
    """A sealed letter with this in it is refused in the words, and the session goes on."""
    with world.onion(author.host) as talk:
        _, text = give(talk, world, f"eve@{author.host}", seal(world, key, plain), key, code)
        assert any(word in text for word in words), text
        talk.say("NOOP\r\n", 250)


@case("an honest sealed letter; said three times it is kept once")
def honest(world, _):
    author, key, subject = Author(), prekey(world), world.subject("sealed")
    letter = author.letter(subject)
    file = seal(world, key, inside(cbor([author.header(world.bob.address, letter)]), letter))
    with world.onion(author.host) as talk:
        for _ in range(3):
            _, text = give(talk, world, f"eve@{author.host}", file, key, 250)
            assert "RECEIPT" in text, text
    assert world.subjects("Requests").count(subject) == 1
    verdicts = [one for one in world.bob.header_values("X-Onionskin-Verdict", "Requests") if "signed and sealed" in one]
    assert verdicts and all(one.startswith("stranger; ") for one in verdicts), verdicts


@case("200,000 CARD")
def cards(world, _):
    number = read(read(card(world))[0][2])[0][1]
    for line, allowed in ((b"CARD\r\n", 25), (b"CARD %d\r\n" % number, 1002), (b"CARD 99999999999999999999999\r\n", 25),
                          (b"CARD x\r\n", 25), (b"CARD 1 2\r\n", 25)):
        with world.onion(Key().host) as talk:
            said = codes(talk.flood([line * 2000] * 100))
            assert said[-1] == 421 and len(said) <= allowed, (line, said[-3:], len(said))
    with world.onion(Key().host, greet=False) as talk:
        talk.expect(220)
        talk.say("CARD\r\n", 503)


@case("CARD 20 times in each of 50 sessions, at once")
def card_sessions(world, held):
    own = Key().host
    talks = [world.onion(own) for _ in range(50)]
    for talk in talks:
        held.append(talk.stream)
        talk.send(b"CARD\r\n" * 20)
    for talk in talks:
        for _ in range(20):
            talk.expect(250)


@case("keys that are none of ours, and words of a sealed letter that do not fit")
def words(world, _):
    key = prekey(world)
    name, sender = key_id(key), f"eve@{Key().host}"
    with world.onion(sender.partition("@")[2]) as talk:
        for unknown in (os.urandom(8).hex(), "0" * 16, "f" * 16):
            talk.send(envelope(world, sender, 5000, unknown))
            [talk.expect(250), talk.expect(250)]
            talk.send(b"BDAT 5000 LAST\r\n" + b"x" * 5000)
            _, text = talk.expect(450)
            assert "4.7.5" in text and "Card" in text, text
        for bad in ("", "0", name[:15], name + "0", "g" * 16, "\0" * 16):
            talk.say(f"MAIL FROM:<{sender}> SIZE=5000 BODY=SEALED KEY={bad}\r\n", 500, 501)
        for bad in ("BODY=SEALED", f"BODY=SEALED KEY={name}", f"SIZE=5 KEY={name}",
                    f"SIZE=5 BODY=SEALED KEY={name} SMTPUTF8"):
            talk.say(f"MAIL FROM:<{sender}> {bad}\r\n", 501)
    with world.onion(sender.partition("@")[2]) as talk:
        talk.send(envelope(world, sender, 5000, name))
        [talk.expect(250), talk.expect(250)]
        talk.say("DATA\r\n", 503)
        talk.say(f"RCPT TO:<postmaster@{world.host}>\r\n", 452)
        talk.send(b"BDAT 4000 LAST\r\n" + b"x" * 4000)  # not what was announced
        code, _ = talk.expect()
        assert code >= 400, code
    with world.onion(sender.partition("@")[2]) as talk:
        for size in ("18446744073709551615", "99999999999999999999999", str(80 * 1024 * 1024)):
            talk.say(f"MAIL FROM:<{sender}> SIZE={size} BODY=SEALED KEY={name}\r\n", 501, 552)


@case("noise for a seal, of 0 to 2 MB")
def noise(world, _):
    key = prekey(world)
    sender = f"eve@{Key().host}"
    real = seal(world, key, inside(b"x", b"y"))
    files = [b"", b"x", b"\0" * 100_000, os.urandom(1627), os.urandom(2_000_000), b"age-encryption.org/v1\n" * 5000,
             b"age-encryption.org/v1\n-> mlkem768x25519 " + b"A" * 1_000_000,
             b"age-encryption.org/v1\n-> X25519 AAAA\nAAAA\n--- AAAA\n",
             real[:22] + real[22:1539].replace(b"mlkem", b"mlkex") + real[1539:], real + b"x",
             real[:HEAD_LEN] + os.urandom(len(real) - HEAD_LEN), real[:1627] + os.urandom(16) + real[HEAD_LEN:]]
    for at in (0, 30, 60, 700, 1530, 1560, 1600, 1626, 1630, 1700, len(real) - 1):
        files.append(real[:at] + bytes([real[at] ^ 1]) + real[at + 1:])
    with world.onion(sender.partition("@")[2]) as talk:
        for number, file in enumerate(files):
            if number % 10 == 9:  # a session bears so many mistakes and no more
                talk.stream.close()
                talk = world.onion(sender.partition("@")[2])
            talk.send(envelope(world, sender, len(file), key_id(key)))
            [talk.expect(250), talk.expect(250)]
            talk.send(f"BDAT {len(file)} LAST\r\n".encode() + file)
            _, text = talk.expect(550)
            assert "seal does not open" in text, (number, text)
    assert world.bob.status()["reachable"]


@case("200 seals with nothing in them")
def empty_seals(world, _):
    key = prekey(world)
    sender = f"eve@{Key().host}"
    file = seal(world, key, bytes(4096))
    for _ in range(20):
        with world.onion(sender.partition("@")[2]) as talk:
            for _ in range(10):
                give(talk, world, sender, file, key, 550)


@case("headers inside a seal that lie about lengths")
def lengths(world, _):
    author, key, to = Author(), prekey(world), world.bob.address
    letter = author.letter("a lie")
    good = cbor([author.header(to, letter)])
    for announced in (0, 1, len(good) - 1, len(good) + 1, HEADER_LEN_MAX, HEADER_LEN_MAX + 1, 2**31, 2**32 - 1):
        refused(world, author, key, inside(good, letter, announced), "header", "inside", "length", "letter")
    for length in (0, 1, len(letter) - 1, len(letter) + 1, 4096, 60 * 1024 * 1024):
        header = author.header(to, letter, length=length)
        refused(world, author, key, inside(cbor([header]), letter), "letter", "length", "padding", "inside")
    for length in (64 * 1024 * 1024 + 1, 2**64 - 1):
        header = author.header(to, letter, length=length)
        refused(world, author, key, inside(cbor([header]), letter), "larger", code=552)
    whole = inside(good, letter)
    for plain in (whole + bytes(1), whole[:-1], whole[:-1] + b"x", whole + bytes(len(whole)), good, b"", bytes(3)):
        refused(world, author, key, plain, "inside", "letter", "length", "padding", "header")
    assert "a lie" not in world.subjects("Requests")


@case("headers inside a seal that are malformed, or another's, or for another")
def headers(world, _):
    author, key, to = Author(), prekey(world), world.bob.address
    letter = author.letter("a lie")
    good = author.header(to, letter)
    bad = bytearray(good)
    bad[-1] ^= 1
    deep, wide = b"\x81" * 90_000 + b"\x80", head(4, 2**32 - 1)
    frames = [b"", b"\0", os.urandom(5000), b"\xff" * 90_000, deep, wide, head(4, 2**63), good, cbor([]),
              cbor([good] * 12), cbor([bytes(bad)]), cbor([good]) + b"\0", cbor([deep]), cbor([wide]), cbor([b""]),
              cbor([b"\x84" + good[1:] * 20])]
    for frame in frames:
        refused(world, author, key, inside(frame, letter), "header", "signature")
    others = [(author.header(f"carl@{Key().host}", letter), "somebody else"),
              (author.header(to, letter, digest=bytes(32)), "letter"),
              (author.header(to, letter, suite=2), "signature"), (author.header(to, letter, id=bytes(15)), "signature"),
              (author.header(to, letter, kind="receipt"), "signature"),
              (author.header("\0" * 300, letter), "signature")]
    for statement, word in others:
        refused(world, author, key, inside(cbor([statement]), letter), word)
    for other in (Author(scope=2), Author(scope=0)):
        text = other.letter("a lie")
        refused(world, other, key, inside(cbor([other.header(to, text)]), text), "signature")
    # Signed by one onion and brought by another that proved itself.
    courier = Key()
    talk, cookie = hello(world, courier)
    with talk:
        talk.say(proof(world, courier, cookie), 235)
        _, text = give(talk, world, f"eve@{courier.host}", seal(world, key, inside(cbor([good]), letter)), key, 550)
        assert "another onion" in text, text
    # A From of somebody else under an honest signature.
    forged = f"From: {world.ann.address}\r\nSubject: a lie\r\n\r\nx\r\n".encode()
    refused(world, author, key, inside(cbor([author.header(to, forged)]), forged), "From")
    assert "a lie" not in world.subjects("Requests") + world.subjects("INBOX")


@case("enclosures that are noise, and the largest there can be")
def enclosures(world, _):
    """They prove themselves or count for nothing; the letter is taken."""
    author, key, to = Author(), prekey(world), world.bob.address
    own = card(world)
    for rest in ([os.urandom(9000)] * 10, [b""] * 10, [own] * 2, [author.certificate] * 10, [b"\x81" * 9000] * 10):
        subject = world.subject("with enclosures")
        letter = author.letter(subject)
        with world.onion(author.host) as talk:
            frame = cbor([author.header(to, letter), *rest])
            give(talk, world, f"eve@{author.host}", seal(world, key, inside(frame, letter)), key, 250)
        assert subject in world.subjects("Requests")


@case("statements in a letter that are noise, or 1,000 of them")
def affairs(world, _):
    author, key, to = Author(), prekey(world), world.bob.address
    kinds = ["introduction", "vouch", "revocation", "successor", "invite", "delegation", "card", "x" * 200]
    texts = [base64.encodebytes(os.urandom(3000)), b"!" * 9000, b"", base64.encodebytes(b"\x81" * 30_000),
             base64.encodebytes(cbor([b"", {}, b"", bytes(64)])), base64.encodebytes(author.certificate)]
    start = "--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: application/vnd.onionskin."
    parts = [f"{start}{kind}\r\n\r\n".encode() + text.replace(b"\n", b"\r\n") + b"\r\n"
             for kind in kinds for text in texts]
    for many in (parts, parts[:2] * 500, parts[-6:] * 20):
        subject = world.subject("with statements")
        letter = (f"From: eve@{author.host}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: multipart/mixed; boundary=b\r\n\r\n").encode() + b"".join(many) + b"--b--\r\n"
        with world.onion(author.host) as talk:
            frame = cbor([author.header(to, letter)])
            give(talk, world, f"eve@{author.host}", seal(world, key, inside(frame, letter)), key, 250)
        assert subject in world.subjects("Requests")


@case("sealed bytes that break off at each stage, by the stream and by BDAT")
def cut(world, _):
    author, key = Author(), prekey(world)
    letter = author.letter("broken off", b"y" * 76 * 1000 + b"\r\n" + b"z\r\n" * 50_000)
    file = seal(world, key, inside(cbor([author.header(world.bob.address, letter)]), letter))
    sender = f"eve@{author.host}"
    chunk = HEAD_LEN + CHUNK_LEN + 16
    stages = [0, 1, 22, 100, 1626, 1627, 1630, HEAD_LEN, HEAD_LEN + 1, HEAD_LEN + 700, chunk - 1, chunk, chunk + 1,
              chunk + CHUNK_LEN + 16, len(file) - 17, len(file) - 1]
    for stage in stages:
        with world.onion(author.host) as talk:
            talk.send(envelope(world, sender, len(file), key_id(key)))
            [talk.expect(250), talk.expect(250)]
            talk.send(f"BDAT {len(file)} LAST\r\n".encode() + file[:stage])
        # As if it were all of it.
        with world.onion(author.host) as talk:
            give(talk, world, sender, file[:stage], key, 550)
    # In pieces of odd lengths it is whole.
    with world.onion(author.host) as talk:
        talk.send(envelope(world, sender, len(file), key_id(key)))
        [talk.expect(250), talk.expect(250)]
        at = 0
        for piece in (1, 1625, 2, 700, 65535, len(file)):
            piece = min(piece, len(file) - at)
            last = " LAST" if at + piece == len(file) else ""
            talk.send(f"BDAT {piece}{last}\r\n".encode() + file[at:at + piece])
            talk.expect(250)
            at += piece
    assert world.subjects("Requests").count("broken off") == 1


@case("a transfer of sealed bytes that goes on with others")
def resumed(world, _):
    """The first half is of one seal and the second of another: no letter comes of it."""
    author, key = Author(), prekey(world)
    letter = author.letter("put together", b"z\r\n" * 60_000)
    plain = inside(cbor([author.header(world.bob.address, letter)]), letter)
    first, second = (seal(world, key, plain) for _ in range(2))
    name, sender = hashlib.sha256(first).hexdigest()[:32], f"eve@{author.host}"
    more = f" LETTER={name} TRANSID=<{name}@onion>"
    half = len(first) // 2
    talk, cookie = hello(world, author.identity)
    with talk:
        talk.say(proof(world, author.identity, cookie), 235)
        talk.send(envelope(world, sender, len(first), key_id(key), more))
        [talk.expect(250, 355), talk.expect(250)]
        talk.send(f"BDAT {len(first)} LAST\r\n".encode() + first[:half])
        time.sleep(0.2)
    for _ in range(3):
        talk, cookie = hello(world, author.identity)
        with talk:
            talk.say(proof(world, author.identity, cookie), 235)
            talk.send(envelope(world, sender, len(first), key_id(key), more))
            code, text = talk.expect(250, 355)
            talk.expect(250)
            at = int(text.split()[0]) if code == 355 else 0
            talk.send(f"BDAT {len(first) - at} LAST\r\n".encode() + (second if code == 355 else second[:half])[at:])
            if code != 355:
                break
            talk.expect(550)
    assert "put together" not in world.subjects("Requests")


@case("an endless sealed letter, and one that is announced and never comes")
def endless(world, held):
    author, key = Author(), prekey(world)
    sender = f"eve@{author.host}"
    letter = author.letter("endless")
    start = seal(world, key, inside(cbor([author.header(world.bob.address, letter)]), letter))[:HEAD_LEN]
    size = 70 * 1024 * 1024
    with world.onion(author.host, timeout=60) as talk:
        talk.send(envelope(world, sender, size, key_id(key)))
        [talk.expect(250), talk.expect(250)]
        said = talk.flood([f"BDAT {size} LAST\r\n".encode(), start] + [bytes(65536)] * 400)
        assert not said or codes(said)[-1] in (550, 552, 421), said
    for _ in range(100):
        talk = world.onion(author.host)
        held.append(talk.stream)
        talk.send(envelope(world, sender, size, key_id(key)) + f"BDAT {size} LAST\r\n")
        [talk.expect(250), talk.expect(250)]
        talk.send(start)
