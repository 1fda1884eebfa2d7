"""Hostile AUTH ONION-ED25519: proofs replayed, passed on, and made with keys under which anything verifies.

Holds the little of ed25519 (RFC 8032) that it takes to make them, written for clarity; it is no cryptography for use.
"""
import base64
import hashlib
import os

from smtp_cases import refused_and_closed
from world import onion_host

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def extended(point):
    """RFC 8032 section 5.1.4: coordinates in which nothing is divided."""
    x, y = point
    return x, y, 1, x * y % P


def plain(point):
    x, y, z, _ = point
    return x * pow(z, P - 2, P) % P, y * pow(z, P - 2, P) % P


def sum_of(one, two):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, two
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * D * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def add(one, two):
    return plain(sum_of(extended(one), extended(two)))


def times(scalar, point):
    total, power = extended((0, 1)), extended(point)
    while scalar:
        if scalar & 1:
            total = sum_of(total, power)
        power, scalar = sum_of(power, power), scalar >> 1
    return plain(total)


def decode(data):
    """The point of an encoding; None if there is none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, (y & (1 << 255) - 1) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return (P - x if x & 1 != sign else x, y)


def encode(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def challenge(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


class Key:
    """An identity's key: of this seed, or a new one."""

    def __init__(self, seed=None):
        digest = hashlib.sha512(seed or os.urandom(32)).digest()
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.public = encode(times(self.scalar, BASE))
        self.host = onion_host(self.public)

    def sign(self, message):
        nonce = challenge(os.urandom(64))
        commitment = encode(times(nonce, BASE))
        response = (nonce + challenge(commitment, self.public, message) * self.scalar) % L
        return commitment + response.to_bytes(32, "little")


def order_eight():
    """A point of order eight: any point, freed of its part in the group of prime order."""
    y = 2
    while True:
        point = decode(y.to_bytes(32, "little"))
        if point and times(4, small := times(L, point)) != (0, 1):
            return small
        y += 1


def address_key(host):
    return base64.b32decode(host.split(".")[0].upper())[:32]


def signed(public, server, cookie, client_cookie):
    return b"onionskin/1 AUTH ONION-ED25519\0" + public + server + cookie + client_cookie


def hello(world, key):
    """A session, and its cookie."""
    talk = world.onion(key.host, greet=False)
    talk.expect(220)
    _, text = talk.say(f"EHLO {key.host}\r\n", 250)
    return talk, bytes.fromhex(text.split("ONIONSKIN 1 ")[1].split()[0])


def command(public, client_cookie, signature):
    return b"AUTH ONION-ED25519 " + base64.b64encode(public + client_cookie + signature) + b"\r\n"


def proof(world, key, cookie, server=None):
    mine = os.urandom(16)
    message = signed(key.public, server or address_key(world.host), cookie, mine)
    return command(key.public, mine, key.sign(message))


def refused(talk, line):
    """535, and the session is over: a letter in the same flight is not looked at."""
    with talk:
        refused_and_closed(talk.flood([line, b"MAIL FROM:<>\r\nNOOP\r\n"]), 535)


def honest(world, _):
    """The measure of all others: a proof that holds, and a letter under it. Said twice, the letter is kept once."""
    key, subject, letter_id = Key(), world.subject("proved"), os.urandom(16).hex()
    text = f"From: eve@{key.host}\r\nSubject: {subject}\r\n\r\nx\r\n".encode()
    for _ in range(3):
        talk, cookie = hello(world, key)
        with talk:
            talk.say(proof(world, key, cookie), 235)
            for _ in range(3):
                talk.say(f"MAIL FROM:<eve@{key.host}> LETTER={letter_id}\r\n", 250)
                talk.say(f"RCPT TO:<{world.bob.address}>\r\n", 250)
                talk.say(b"BDAT %d LAST\r\n" % len(text) + text, 250)
    assert world.subjects("Requests").count(subject) == 1


def replayed(world, _):
    key = Key()
    talk, cookie = hello(world, key)
    line = proof(world, key, cookie)
    with talk:
        talk.say(line, 235)
        talk.say(line, 503)
        talk.say(f"EHLO {key.host}\r\n", 250)
        talk.say(line, 503)
    for _ in range(3):
        again, _ = hello(world, key)
        refused(again, line)


def for_others(world, _):
    key = Key()
    talk, cookie = hello(world, key)
    refused(talk, proof(world, key, cookie, address_key(world.ann.address.split("@")[1])))
    # Passed on: Eve, whom a caller dials, gives Bob's cookie as her own, and hands the proof to Bob.
    talk, cookie = hello(world, key)
    refused(talk, proof(world, key, cookie, Key().public))
    # A proof of one onion for a letter of another.
    talk, cookie = hello(world, key)
    with talk:
        talk.say(proof(world, key, cookie), 235)
        talk.say(f"MAIL FROM:<ann@{world.ann.address.split('@')[1]}>\r\n", 550)
        talk.say(f"ETRN {world.ann.address.split('@')[1]}\r\n", 459)
        talk.say(f"MAIL FROM:<x@{key.host}>\r\n", 250)
        talk.say(f"RCPT TO:<{world.bob.address}>\r\n", 250)
        forged = f"From: {world.ann.address}\r\nSubject: forged\r\n\r\nx\r\n".encode()
        _, text = talk.say(b"BDAT %d LAST\r\n" % len(forged) + forged, 550)
        assert "From" in text, text
    assert "forged" not in world.subjects("Requests")


def bent(world, _):
    """A good proof with one thing changed."""
    key = Key()
    for at in (0, 31, 32, 47, 48, 79, 80, 111):
        talk, cookie = hello(world, key)
        response = bytearray(base64.b64decode(proof(world, key, cookie).split()[2]))
        response[at] ^= 1
        refused(talk, b"AUTH ONION-ED25519 " + base64.b64encode(response) + b"\r\n")
    # The second form of a signature: its scalar and the order of the group.
    talk, cookie = hello(world, key)
    response = base64.b64decode(proof(world, key, cookie).split()[2])
    scalar = (int.from_bytes(response[80:], "little") + L).to_bytes(32, "little")
    refused(talk, b"AUTH ONION-ED25519 " + base64.b64encode(response[:80] + scalar) + b"\r\n")
    for text, allowed in ((b"", (501,)), (b"=", (501, 535)), (b"AAAA", (501, 535)), (b"!" * 152, (501, 535)),
                          (base64.b64encode(response)[:-1], (501, 535)), (b"A" * 12000, (501, 535, 500))):
        talk, _ = hello(world, key)
        with talk:
            talk.say(b"AUTH ONION-ED25519 " + text + b"\r\n", *allowed)
    talk, _ = hello(world, key)
    with talk:
        talk.say("AUTH PLAIN AHgAeA==\r\n", 504)
        talk.say("AUTH\r\n", 501, 504)


def small_order(world, _):
    """Under these keys a fixed signature holds for many messages, unless keys and checks are strict."""
    torsion = order_eight()
    keys = {encode(times(number, torsion)) for number in range(8)}
    # The same points in encodings that are not the shortest, and the one point with a sign that it cannot have.
    keys |= {(P + 1).to_bytes(32, "little"), P.to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little"),
             (P - 1 | 1 << 255).to_bytes(32, "little"), (P | 1 << 255).to_bytes(32, "little")}
    caller = Key()
    for public in keys:
        for commitment in ((0, 1), torsion):
            talk, _ = hello(world, caller)
            refused(talk, command(public, os.urandom(16), encode(commitment) + bytes(32)))
    nonce = 5
    talk, _ = hello(world, caller)
    signature = encode(times(nonce, BASE)) + nonce.to_bytes(32, "little")
    refused(talk, command(encode((0, 1)), bytes(16), signature))


def mixed_order(world, _):
    """A key with a part of small order, and a signature that plain verification would take."""
    key, torsion = Key(), order_eight()
    mixed = add(decode(key.public), torsion)
    public = encode(mixed)
    talk, cookie = hello(world, key)
    mine = os.urandom(16)
    message = signed(public, address_key(world.host), cookie, mine)
    for nonce in range(1, 1000):
        commitment = encode(times(nonce, BASE))
        if (factor := challenge(commitment, public, message)) % 8 == 0:
            break
    response = (nonce + factor * key.scalar) % L
    # It does hold by the equation of RFC 8032: only the rule about keys keeps it out.
    assert times(response, BASE) == add(decode(commitment), times(factor, mixed))
    refused(talk, command(public, mine, commitment + response.to_bytes(32, "little")))


CASES = [
    ("an honest proof; its letter said nine times is kept once", "onion", honest),
    ("a proof again in its session, and in others", "onion", replayed),
    ("proofs for another node, letters of another onion", "onion", for_others),
    ("proofs with a bit changed, and broken ones", "onion", bent),
    ("keys of small order", "onion", small_order),
    ("a key of mixed order with a signature that holds", "onion", mixed_order),
]
