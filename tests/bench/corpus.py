"""Letters to measure with: made from a fixed seed, so that every run and every server gets the same ones.

`letters` are like the mail that people get: half are below 3.5 KB and one in a hundred is above 34 KB, with the
headers that programs write, lines of words, some HTML and some base64. `real_letters` reads a folder of real ones.
"""
import base64
import os
import random

# A few hundred syllables make words that repeat about as often as those of a language do.
SYLLABLES = [first + second for first in "bdfghklmnprstvw" for second in ("a", "e", "i", "o", "u", "an", "er", "in")]
PEOPLE = 200
LETTER_BYTES_MAX = 200_000


class Words:
    """Words by a skewed choice, as in a language: few are frequent."""

    def __init__(self, rng):
        self.rng = rng
        self.known = ["".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(8000)]

    def some(self, count):
        # The product of two even choices prefers the front of the list.
        pick = self.rng.random
        return [self.known[int(len(self.known) * pick() * pick())] for _ in range(count)]


def text(words, length):
    """Lines of words, about so many bytes long."""
    lines, have = [], 0
    while have < length:
        line = " ".join(words.some(11))[:76]
        lines.append(line)
        have += len(line) + 2
    return "\r\n".join(lines) + "\r\n"


def letters(count, seed=1):
    """So many letters, as bytes with CRLF line ends."""
    rng = random.Random(seed)
    words = Words(rng)
    people = [(" ".join(words.some(2)).title(), f"{words.some(1)[0]}{number}@{words.some(1)[0]}.example")
              for number in range(PEOPLE)]
    made = []
    for number in range(count):
        length = min(LETTER_BYTES_MAX, int(rng.lognormvariate(7.76, 1.13)))
        made.append(letter(rng, words, people, number, length))
    return made


def letter(rng, words, people, number, length):
    sender, readers = rng.choice(people), rng.sample(people, rng.choice((1, 1, 1, 2, 4)))
    moment = 1_600_000_000 + number * 4001
    subject = " ".join(words.some(rng.randint(2, 8))).capitalize()
    head = [f"Return-Path: <{sender[1]}>"]
    for hop in range(rng.randint(1, 4)):
        head.append(f"Received: from {words.some(1)[0]}.example (host{hop}.example [192.0.2.{rng.randint(1, 254)}])\r\n"
                    f"\tby mx{hop}.example (Postfix) with ESMTP id {rng.getrandbits(40):010X}\r\n"
                    f"\tfor <{readers[0][1]}>; {date(moment)}")
    head += [f"From: {sender[0]} <{sender[1]}>", "To: " + ",\r\n\t".join(f"{name} <{at}>" for name, at in readers),
             f"Subject: {'Re: ' if number % 3 == 0 else ''}{subject}", f"Date: {date(moment)}",
             f"Message-ID: <{rng.getrandbits(64):016x}@{sender[1].split('@')[1]}>"]
    if number % 3 == 0:
        head.append("References: " + "\r\n\t".join(f"<{rng.getrandbits(64):016x}@mail.example>" for _ in range(3)))
    head += ["MIME-Version: 1.0", "X-Mailer: bench"]
    kind = rng.random()
    if kind < 0.6:
        head.append("Content-Type: text/plain; charset=utf-8")
        body = text(words, length)
    elif kind < 0.9:
        plain, marker = text(words, length // 3), f"=_{rng.getrandbits(64):016x}"
        html = "<html><body>" + "".join(f"<p>{line}</p>\r\n" for line in text(words, length // 2).splitlines())
        head.append(f'Content-Type: multipart/alternative;\r\n\tboundary="{marker}"')
        body = (f"--{marker}\r\nContent-Type: text/plain\r\n\r\n{plain}\r\n--{marker}\r\n"
                f"Content-Type: text/html\r\n\r\n{html}</body></html>\r\n--{marker}--\r\n")
    else:
        marker = f"=_{rng.getrandbits(64):016x}"
        data = base64.encodebytes(rng.randbytes(length * 2 // 3)).decode().replace("\n", "\r\n")
        head.append(f'Content-Type: multipart/mixed; boundary="{marker}"')
        body = (f"--{marker}\r\nContent-Type: text/plain\r\n\r\n{text(words, length // 4)}\r\n--{marker}\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
                f'Content-Disposition: attachment; filename="{words.some(1)[0]}.bin"\r\n\r\n{data}--{marker}--\r\n')
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def date(moment):
    import email.utils
    return email.utils.formatdate(moment)


def real_letters(folder, count):
    """So many letters from a folder of files, again and again if there are fewer."""
    found = []
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            with open(os.path.join(path, name), "rb") as file:
                raw = file.read(LETTER_BYTES_MAX + 1)
            if raw.startswith(b"From "):
                raw = raw.split(b"\n", 1)[-1]
            raw = raw.replace(b"\r\n", b"\n").replace(b"\0", b"").replace(b"\n", b"\r\n")
            if len(raw) <= LETTER_BYTES_MAX and b"\r\n\r\n" in raw and b"\r\nSubject:" in raw:
                found.append(raw)
    random.Random(7).shuffle(found)
    return [b"X-Bench-No: %d\r\n" % number + found[number % len(found)] for number in range(count)] if found else []


def filler(size, sender, recipient, number):
    """One plain letter of so many bytes."""
    head = (f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: letter {number}\r\n"
            f"Message-ID: <{number}.{os.urandom(8).hex()}@bench.example>\r\nDate: {date(1_700_000_000)}\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode()
    return head + plain_bytes(max(0, size - len(head)))


_plain = {}


def plain_bytes(length):
    if length not in _plain:
        rng = random.Random(2)
        block = b"".join(bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz      ", k=74)) + b"\r\n" for _ in range(200))
        _plain[length] = (block * (length // len(block) + 1))[:max(0, length - 2)].rstrip(b"\r\n") + b"\r\n"
    return _plain[length]
