"""Hostile callers at a drop, the onion on which letters are held for others: depositors without tokens or with spent
ones, collectors without a key, and whoever wants to fill, to read or to stop what is held.

After each, an honest depositor leaves a letter and its guest collects it: the ordinary client of this face.
"""
import hashlib
import os
import threading
import time

import nodes
from holder_load import Drops, take
from proof_cases import Key, address_key, proof
from smtp_cases import refused_and_closed
from world import STRANGER, Hub, Talk, codes, onion_host

CASES = []
KEY = "0123456789abcdef"
SMALL, LARGE = 4096, 900_000
COMMANDS_MAX = 1001  # in one session, and the answer that ends it


def case(name):
    def add(function):
        CASES.append((name, "drop", function))
        return function
    return add


class Place(Drops):
    """A guest of Bob's, and the drop that serves it."""

    def __init__(self, world, number):
        self.guest = world.guests[number % len(world.guests)]
        super().__init__(world.hub_socket, self.guest.drop)

    def mail(self, sealed, token=None, size=None, more="", mailbox=None):
        name = letter_id(sealed)
        token = token if token is not None else self.guest.token()
        mailbox = mailbox or f"m{self.guest.mailbox}@{self.guest.drop}"
        return (f"MAIL FROM:<> SIZE={size or len(sealed)} BODY=SEALED KEY={KEY} LETTER={name} TOKEN={token}{more}\r\n"
                f"RCPT TO:<{mailbox}>\r\n").encode()

    def listed(self):
        """The names of what is held."""
        with self.collecting(self.guest) as talk:
            return names(talk)

    def empty(self):
        """Collects everything."""
        self.collect(self.guest, 10**6)
        assert not self.listed()


def letter_id(sealed):
    return hashlib.sha256(sealed).hexdigest()[:32]


def names(talk):
    _, text = talk.say("HELD\r\n", 250)
    return [line.split()[1] for line in text.split("\n")[:-1]]


def answer(talk, data):
    """The code of the first reply to this; 0 if there is none."""
    talk.send(data)
    return talk.reply()[0]


def noise_token():
    """A token nobody made: of this epoch, with another mac."""
    return (os.urandom(16) + (int(time.time()) // (28 * 86_400)).to_bytes(4, "big") + b"\2" + os.urandom(16)).hex()


@case("an honest letter, left three times, is held once, and goes when its guest says so")
def honest(world, _):
    place, sealed = Place(world, 1), os.urandom(SMALL)
    token = place.guest.token()
    for _ in range(3):
        place.deposit(place.guest, sealed, token)
    assert place.listed() == [letter_id(sealed)]
    with place.collecting(place.guest) as talk:
        assert take(talk, letter_id(sealed), SMALL) == sealed
        assert names(talk) == [letter_id(sealed)], "a letter went before it was dropped"
        talk.say(f"DROP {letter_id(sealed)}\r\n", 250)
        talk.say(f"DROP {letter_id(sealed)}\r\n", 250)
        assert not names(talk)
    place.deposit(place.guest, sealed, token)
    assert not place.listed(), "a letter that was collected came back"


@case("deposits without end with tokens that nobody gave out, in five sessions")
def noise_tokens(world, _):
    place, sealed = Place(world, 2), b"x"
    for _ in range(5):
        talk, _ = place.session()
        with talk:
            lines = b"".join(place.mail(sealed, noise_token()) + b"RSET\r\n" for _ in range(10))
            said = codes(talk.flood([lines] * 1000))
            assert said[-1] == 421 and set(said[1:-1:3]) == {550} and len(said) <= COMMANDS_MAX, (said[-3:], len(said))
    other = Place(world, 3)
    old = bytes.fromhex(place.guest.token())
    for token in (other.guest.token(), (old[:16] + b"\0\0\0\1" + old[20:]).hex(),
                  (old[:16] + b"\xff" * 4 + old[20:]).hex(), (old[:20] + b"\6" + old[21:]).hex()):
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, token))
            talk.expect(250)
            _, text = talk.expect(550)
            assert "5.7.1" in text, text
            talk.say("BDAT 1 LAST\r\nx", 503)
    for bad in ("", "0", "f" * 73, "f" * 75, "g" * 74, "\0" * 74, "f" * 100_000):
        talk, _ = place.session()
        with talk:
            assert answer(talk, place.mail(sealed, bad)) >= 500, bad[:10]
    assert not place.listed()


@case("200 letters broken off in the middle, small and large ones")
def half_sent(world, _):
    place = Place(world, 4)
    large = os.urandom(LARGE)
    for number in range(200):
        sealed = large[number:] if number % 4 == 0 else os.urandom(SMALL)
        more = f" TRANSID=<{letter_id(sealed)}@onion>" if number % 8 == 0 else ""
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, more=more))
            [talk.expect(250, 355), talk.expect(250)]
            talk.send(f"BDAT {len(sealed)} LAST\r\n".encode() + sealed[:len(sealed) // 2])
    assert not place.listed()


@case("CHECKPOINT again and again, for tokens that are good and for others")
def checkpoints(world, held):
    place, sealed = Place(world, 5), os.urandom(LARGE)
    good, more = place.guest.token(), f" TRANSID=<{letter_id(sealed)}@onion>"
    for token in (good, noise_token()):
        line = place.mail(sealed, token, more=more).split(b"RCPT")[0]
        for _ in range(3):
            talk, _ = place.session()
            with talk:
                said = codes(talk.flood([(line + b"RSET\r\n") * 500] * 10))
                assert said[-1] == 421 and len(said) <= COMMANDS_MAX, (said[-3:], len(said))
                assert token == good or 355 not in said
    # Fifty at once want to bring the same letter: one after another may.
    talks = []
    for _ in range(50):
        talk, _ = place.session()
        held.append(talk.stream)
        talk.send(place.mail(sealed, good, more=more))
        talks.append(talk)
    talks[-1].expect(250, 355)
    assert not place.listed()


@case("HELD, TAKE, DROP without a proof, with another's, and with one that was made for another drop")
def strangers(world, _):
    place, other = Place(world, 6), Place(world, 7)
    sealed = os.urandom(SMALL)
    place.deposit(place.guest, sealed)
    name = letter_id(sealed)
    verbs = ["HELD\r\n", f"HELD {name}\r\n", f"TAKE {name} 0 262144\r\n", f"DROP {name}\r\n"]
    talk, _ = place.session()
    with talk:
        for verb in verbs:
            talk.say(verb, 530)
        said = codes(talk.flood([verbs[2].encode() * 100_000]))
        assert said[-1] == 421 and len(said) < 50, said[-3:]
    for key in (Key(), other.guest.collector):
        talk, cookie = place.session()
        with talk:
            talk.say(proof(place, key, cookie), 235)
            for verb in verbs:
                _, text = talk.say(verb, 550)
                assert "5.7.1" in text, text
    # A proof that another drop was given, and one whose cookie is another session's.
    for key, server, stale in ((place.guest.collector, address_key(other.host), False),
                               (place.guest.collector, address_key(place.host), True)):
        talk, cookie = place.session()
        with talk:
            line = proof(place, key, os.urandom(16) if stale else cookie, server)
            refused_and_closed(talk.flood([line, verbs[0].encode()]), 535)
    # Who has proved a key leaves nothing and recalls nothing.
    with place.collecting(place.guest) as talk:
        talk.say(place.mail(sealed).split(b"RCPT")[0], 503)
        talk.say(f"RECALL {name} {place.guest.token()}\r\n", 503)
    assert place.listed() == [name]
    place.empty()


@case("RECALL without end, with tokens of others and of other letters")
def recalls(world, _):
    place, sealed = Place(world, 8), os.urandom(SMALL)
    paid = place.guest.token()
    place.deposit(place.guest, sealed, paid)
    name = letter_id(sealed)
    for token, letter in ((noise_token(), name), (place.guest.token(), name), (paid, os.urandom(16).hex())):
        talk, _ = place.session()
        with talk:
            _, text = talk.say(f"RECALL {letter} {token}\r\n", 550)
            assert "5.7.1" in text, text
            said = codes(talk.flood([f"RECALL {letter} {token}\r\n".encode() * 1000] * 33))
            assert said[-1] == 421 and set(said[:-1]) == {550} and len(said) <= COMMANDS_MAX, (said[-3:], len(said))
    for bad in ("", name, f"{name} ", f"{name} {paid[:-1]}", f"x {paid}", f"{name} {paid} x", "\0", f"{paid} {name}"):
        talk, _ = place.session()
        with talk:
            assert answer(talk, f"RECALL {bad}\r\n") >= 500, bad
    assert place.listed() == [name]
    talk, _ = place.session()
    with talk:
        talk.say(f"RECALL {name} {paid}\r\n", 250)
        said = codes(talk.flood([f"RECALL {name} {paid}\r\n".encode() * 2000] * 5))
        assert said[-1] == 421 and len(said) <= COMMANDS_MAX, (said[-3:], len(said))
    assert not place.listed()


@case("TAKE from beyond the end, from before the beginning, and more than there is")
def offsets(world, _):
    place, sealed = Place(world, 9), os.urandom(SMALL)
    place.deposit(place.guest, sealed)
    name = letter_id(sealed)
    with place.collecting(place.guest) as talk:
        for offset, most, length in ((SMALL, 262144, 0), (SMALL + 1, 262144, 0), (2**32, 1, 0), (2**63, 262144, 0),
                                     (2**64 - 1, 262144, 0), (SMALL - 1, 262144, 1), (0, 1, 1), (0, 262144, SMALL)):
            _, text = talk.say(f"TAKE {name} {offset} {most}\r\n", 250)
            assert text.split()[1] == str(length), (offset, most, text)
            talk.exactly(length)
        bad = ["-1 1", "0 -1", "0 262145", f"{2**64} 1", f"0 {2**64}", f"{'9' * 300} 1", "0", "", "0 1 2", "+0 1",
               "0x0 1", "1e3 1", "0 1.0", "\0 1"]
        for words in bad:
            code, _ = talk.say(f"TAKE {name} {words}\r\n")
            assert code in (500, 501), (words, code)
    with place.collecting(place.guest) as talk:
        _, text = talk.say(f"TAKE {name} 0 0\r\n", 250, 501)
        talk.say(f"TAKE {os.urandom(16).hex()} 0 1\r\n", 550)
    place.empty()


@case("TAKE of 262,144 bytes 1,000 times in 20 sessions, and nothing is read")
def unread(world, held):
    place, sealed = Place(world, 10), os.urandom(LARGE)
    place.deposit(place.guest, sealed)
    line = f"TAKE {letter_id(sealed)} 0 262144\r\n".encode() * 1000
    for _ in range(20):
        talk = place.collecting(place.guest)
        held.append(talk.stream)
        threading.Thread(target=push, args=(talk, line), daemon=True).start()
    time.sleep(2)
    place.empty()


def push(talk, data):
    try:
        talk.send(data)
    except OSError:
        pass


@case("names of letters that are none")
def letter_names(world, _):
    place, sealed = Place(world, 11), os.urandom(SMALL)
    place.deposit(place.guest, sealed)
    name = letter_id(sealed)
    unknown = os.urandom(16).hex()
    for verb, tail in (("HELD", ""), ("TAKE", " 0 1"), ("DROP", "")):
        bad = ["x", "0", name[:-1], name + "0", "g" * 32, "\0" * 32, "-", "*", "%s%n", "../../mail.db", "1:*", "ü" * 16]
        for word in bad:
            with_one = f"{verb} {word}{tail}\r\n".encode()
            with place.collecting(place.guest) as talk:
                assert answer(talk, with_one) >= 500, with_one
    with place.collecting(place.guest) as talk:
        talk.say("DROP\r\n", 500, 501)
        talk.say(f"DROP {' '.join([unknown] * 12)} {name}\r\n", 500, 501)
        talk.say(f"DROP {' '.join([unknown] * 12)}\r\n", 250)
        talk.say(f"HELD {name} {name}\r\n", 500, 501)
        _, text = talk.say(f"HELD {unknown}\r\n", 250)
        assert name in text and "Complete" in text, text
        assert names(talk) == [name]
    place.empty()


@case("letters for mailboxes that are not there, and for anybody else")
def mailboxes(world, _):
    place, other = Place(world, 12), Place(world, 13)
    sealed = os.urandom(SMALL)
    wrong = [f"m{os.urandom(8).hex()}@{place.host}", f"m{other.guest.mailbox}@{place.host}", f"postmaster@{place.host}",
             f"echo@{place.host}", f"m@{place.host}", f"{world.bob.address}", f"m{place.guest.mailbox}@{other.host}",
             f"m{place.guest.mailbox}@example.org", f"m{place.guest.mailbox}@{onion_host(Key().public)}"]
    for mailbox in wrong:
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, mailbox=mailbox))
            talk.expect(250)
            code, text = talk.expect(550, 551, 553, 501)
    for line, *allowed in ((f"MAIL FROM:<eve@{place.host}> SIZE=1 BODY=SEALED KEY={KEY} LETTER={'0' * 32}", 550, 501),
                           ("MAIL FROM:<>", 550, 501), (f"MAIL FROM:<> SIZE=1 BODY=SEALED KEY={KEY}", 550, 501),
                           (f"MAIL FROM:<> TOKEN={place.guest.token()}", 501), ("VRFY x", 252, 500, 502),
                           ("ETRN x", 500, 502, 530), ("CARD", 500, 502), ("DATA", 503, 500, 502)):
        talk, _ = place.session()
        with talk:
            talk.say(line + "\r\n", *allowed)
    assert not place.listed() and not other.listed()


@case("one token for many letters, one after another and all at once")
def replays(world, _):
    place = Place(world, 14)
    first, token = os.urandom(SMALL), place.guest.token()
    place.deposit(place.guest, first, token)
    for _ in range(100):
        talk, _ = place.session()
        with talk:
            sealed = os.urandom(100)
            talk.send(place.mail(sealed, token) + b"BDAT 100 LAST\r\n" + sealed)
            talk.expect(250)
            _, text = talk.expect(550)
            assert "5.7.1" in text, text
    place.empty()
    token, results = place.guest.token(), []

    def bring():
        sealed = os.urandom(60_000)
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, token))
            if [talk.reply()[0], talk.reply()[0]] == [250, 250]:
                talk.send(b"BDAT 60000 LAST\r\n" + sealed)
                results.append(talk.reply()[0])
    threads = [threading.Thread(target=bring) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results.count(250) == 1, results
    assert len(place.listed()) == 1
    place.empty()


@case("what is not the letter that was named costs its token nothing")
def another_letter(world, _):
    place, sealed = Place(world, 15), os.urandom(SMALL)
    token = place.guest.token()
    for bytes_ in (os.urandom(SMALL), sealed[:-1] + bytes([sealed[-1] ^ 1])):
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, token) + f"BDAT {SMALL} LAST\r\n".encode() + bytes_)
            [talk.expect(250), talk.expect(250), talk.expect(554)]
    # Shorter and longer than was said, and larger than the token pays for.
    for announced, sent in ((SMALL, 1), (SMALL, SMALL - 1), (1, SMALL), (SMALL, 10 * SMALL)):
        talk, _ = place.session()
        with talk:
            body = (sealed * 10)[:sent]
            said = [answer(talk, place.mail(sealed, token, size=announced) + f"BDAT {sent} LAST\r\n".encode() + body),
                    talk.reply()[0], talk.reply()[0]]
            assert said[2] >= 400 or not said[2], (announced, sent, said)
    for size in (2**20 + 1, 70 * 2**20, 2**63, 2**64 - 1):
        talk, _ = place.session()
        with talk:
            talk.send(place.mail(sealed, token, size=size))
            said = [talk.reply()[0], talk.reply()[0]]
            assert said in ([250, 552], [552, 503], [501, 503]), (size, said)
    place.deposit(place.guest, sealed, token)
    assert place.listed() == [letter_id(sealed)]
    place.empty()


@case("a line of a million bytes, as a command and as each parameter")
def long_lines(world, _):
    place = Place(world, 16)
    million = b"a" * 1_000_000
    for line in (million, b"EHLO " + million, b"RECALL " + million, b"HELD " + million, b"TAKE " + million,
                 b"MAIL FROM:<> TOKEN=" + million, b"RCPT TO:<m" + million, b"AUTH ONION-ED25519 " + million):
        talk, _ = place.session()
        with talk:
            said = codes(talk.flood([line, b"\r\nNOOP\r\n"]))
            assert said and said[0] >= 421, (line[:20], said[:3])
    with place.collecting(place.guest) as talk:
        said = codes(talk.flood([b"DROP" + b" 00" * 333_333, b"\r\n"]))
        assert said and said[0] >= 421, said[:3]


@case("100 callers at each drop who say nothing, and some who say a byte now and then")
def silent(world, held):
    drops = sorted({guest.drop for guest in world.guests})
    talks = []
    for drop in drops:
        for _ in range(100):
            stream = Hub(world.hub_socket, STRANGER, drop, 10)
            held.append(stream)
            talks.append(Talk(stream))
    for byte in b"EHLO depos":
        for talk in talks[::10]:
            push(talk, bytes([byte]))
        time.sleep(0.1)


@case("ten collectors of one mailbox at once")
def many_collectors(world, _):
    place = Place(world, 17)
    sealed = [os.urandom(SMALL) for _ in range(20)]
    for one in sealed:
        place.deposit(place.guest, one)
    wrong = []

    def fetch():
        try:
            with place.collecting(place.guest) as talk:
                for one in sealed:
                    talk.send(f"TAKE {letter_id(one)} 0 262144\r\n")
                    code, text = talk.expect(250, 550)
                    if code == 250 and talk.exactly(int(text.split()[1])) != one:
                        wrong.append(letter_id(one))
        except (nodes.Failed, OSError) as error:
            wrong.append(str(error))
    threads = [threading.Thread(target=fetch) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong[:3]
    place.empty()
