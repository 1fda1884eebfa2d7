"""Hostile letters: each comes in by the wire where the wire lets it in, and is then read by IMAP in every way.

A letter whose header is larger than the node takes is refused on the wire, with a reason, and read by IMAP from an
APPEND, which is how a mail program could bring it.
"""
import base64
import os

import nodes

CASES = []
HEADER_MAX = 256 * 1024


def letter(name, wire=True):
    """A case of reading, and before it cases of the letter's coming in (`wire`: by the ports of SMTP too)."""
    def add(function):
        made = {}

        def bytes_of(world, face):
            head = f"From: {world.sender('onion' if face == 'onion' else 'submission')}\r\nSubject: {name}\r\n"
            extra, body = made.setdefault("letter", function())
            return head.encode() + extra + b"\r\n" + body

        def comes(world, held, face):
            with world.talk(face, timeout=60) as talk:
                code, text = world.chunk(talk, face, bytes_of(world, face), 250, 552, 554)
                if wire and code != 250 or not wire and code == 250:
                    raise nodes.Failed(f"answered {code} {text}")
                assert len(text) > 10, text

        def appended(world, _):
            append(world, bytes_of(world, "submission"))

        if wire:
            CASES.append((f"{name}, coming in", "onion", lambda world, held: comes(world, held, "onion")))
        else:
            CASES.append((f"{name}, refused", "onion", lambda world, held: comes(world, held, "onion")))
            CASES.append((f"{name}, refused", "submission", lambda world, held: comes(world, held, "submission")))
            CASES.append((f"{name}, by APPEND", "imap", appended))
        mailbox = "Requests" if wire else "INBOX"
        for way, items in WAYS:
            CASES.append((f"{name}, {way}", "imap", lambda world, _, items=items: read(world, mailbox, items)))
        return function
    return add


def append(world, text):
    with world.imap() as talk:
        talk.send(f"a APPEND INBOX {{{len(text)}}}\r\n")
        while not (line := talk.line()).startswith(b"+"):
            assert not line.startswith(b"a "), line
        talk.send(text + b"\r\n")
        _, tagged = talk.answer(b"a")
        assert tagged.startswith(b"OK"), tagged


DEEP = ".".join(["1"] * 50)
WAYS = [
    ("ENVELOPE and BODYSTRUCTURE", ["FETCH {} (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)", "FETCH {} BODY"]),
    ("headers", ["FETCH {} BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date References X-A Content-Type)]",
                 "FETCH {} BODY.PEEK[HEADER]", "FETCH {} BODY.PEEK[HEADER.FIELDS.NOT (To)]"]),
    ("deep parts", [f"FETCH {{}} BODY.PEEK[{DEEP}]", f"FETCH {{}} BODY.PEEK[{DEEP}.1.1.1.1.1.1]", "FETCH {} BODY.PEEK[1.1.MIME]",
                    "FETCH {} BODY.PEEK[2000]", "FETCH {} BODY.PEEK[4294967295.4294967295]",
                    f"FETCH {{}} BODY.PEEK[{'.'.join(['1'] * 20)}.HEADER]"]),
    ("SEARCH", ['SEARCH UID {} TEXT "needle nowhere"', 'SEARCH UID {} BODY x SUBJECT "=?"', 'SEARCH UID {} HEADER To "a@"']),
    ("the whole, and pieces of it", ["FETCH {} BODY.PEEK[]<0.65536>", "FETCH {} BODY.PEEK[1]<4294967295.4294967295>",
                                     "FETCH {} BODY.PEEK[TEXT]<1000.10>", "FETCH {} RFC822.HEADER"]),
]


def read(world, mailbox, items):
    """Asks for the newest letter; whatever it is, each answer is OK, or a NO with a reason."""
    with world.imap(mailbox) as talk:
        uids = talk.ok("UID SEARCH NOT SUBJECT probe")
        newest = uids[0].split()[-1].decode()
        for item in items:
            _, tagged = talk.command("UID " + item.format(newest))
            assert tagged[:2] in (b"OK", b"NO") or b"BAD" in tagged[:3] and "." in item, (item, tagged)


def addresses(number):
    return b", ".join(b"a%d@b.example" % at for at in range(number))


def fill(unit, limit=HEADER_MAX - 1024):
    return unit * (limit // len(unit))


@letter("12,000 addresses on one line")
def many_addresses():
    return b"To: " + addresses(200_000)[:HEADER_MAX - 2048] + b"\r\n", b"x\r\n"


@letter("200,000 addresses on one line", wire=False)
def too_many_addresses():
    return b"To: " + addresses(200_000) + b"\r\n", b"x\r\n"


@letter("4,000 address fields")
def address_fields():
    return b"Cc: somebody <a@b.example>\r\n" * 4000, b"x\r\n"


@letter("100,000 address fields", wire=False)
def too_many_fields():
    return b"Cc: somebody <a@b.example>\r\n" * 100_000, b"x\r\n"


@letter("a header line of 10 MB", wire=False)
def long_field():
    return b"X-A: " + b"x" * 10_000_000 + b"\r\n", b"x\r\n"


@letter("50,000 References", wire=False)
def too_many_references():
    return b"References: " + b" <aaaaaaaaaaaaaaaa@b.example>\r\n" * 50_000, b"x\r\n"


@letter("8,000 References")
def references():
    return b"References: " + fill(b" <aaaaaaaaaaaaaaaa@b.example>\r\n"), b"x\r\n"


@letter("50,000 RFC 2231 parameters in a part")
def parameters():
    part = b"Content-Type: text/plain" + b"".join(b";\r\n x*%d*=utf-8''%%41" % at for at in range(50_000)) + b"\r\n\r\nx\r\n"
    return b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n" + part + b"--b--\r\n"


@letter("a multipart 10,000 deep")
def deep():
    body = b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (at, at + 1) for at in range(10_000))
    return b"Content-Type: multipart/mixed; boundary=b0\r\n", body + b"--b10000\r\n\r\nx\r\n"


@letter("a multipart 10,000 deep, every boundary a prefix of the next")
def deep_prefix():
    def boundary(at):
        return b"b" * min(at + 1, 240)
    body = b"".join(b"--%b\r\nContent-Type: multipart/mixed; boundary=%b\r\n\r\n" % (boundary(at), boundary(at + 1))
                    for at in range(10_000))
    return b"Content-Type: multipart/mixed; boundary=b\r\n", body + b"--bb\r\n\r\nx\r\n" * 10_000


@letter("100,000 parts")
def many_parts():
    return b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n"


@letter("2,000 parts with large headers")
def large_headers():
    part = b"--b\r\nContent-Type: text/plain; name=\"" + b"n" * 4000 + b"\"\r\nContent-Description: " + b"d" * 4000 + b"\r\n\r\nx\r\n"
    return b"Content-Type: multipart/mixed; boundary=b\r\n", part * 2000 + b"--b--\r\n"


@letter("2,000 nested letters")
def nested_letters():
    return b"Content-Type: message/rfc822\r\n", b"Content-Type: message/rfc822\r\nSubject: inner\r\n\r\n" * 2000 + b"\r\nx\r\n"


@letter("a digest of 2,000 letters with long envelopes")
def digest():
    one = b"--b\r\n\r\nFrom: " + addresses(100) + b"\r\nTo: " + addresses(100) + b"\r\nSubject: " + b"s" * 1000 + b"\r\n\r\nx\r\n"
    return b"Content-Type: multipart/digest; boundary=b\r\n", one * 2000 + b"--b--\r\n"


@letter("100,000 nested comments")
def comments():
    half = 100_000
    return b"To: " + b"(" * half + b")" * half + b" a@b.c\r\n", b"x\r\n"


@letter("100,000 comments that never close, in a Content-Type")
def open_comments():
    return b"Content-Type: text/plain; " + fill(b"(\\(") + b"\r\n", b"x\r\n"


@letter("12,000 encoded words")
def encoded_words():
    return b"Subject: " + fill(b" =?utf-8?q?=41?=\r\n"), b"x\r\n"


@letter("50,000 encoded words", wire=False)
def too_many_encoded_words():
    return b"Subject: " + b" =?utf-8?b?QUJD?=\r\n" * 50_000, b"x\r\n"


@letter("encoded words that never end")
def open_words():
    return b"Subject: " + fill(b"=?a?q?") + b"\r\nX-A: " + b"=?" * 100 + b"\r\n", b"x\r\n"


@letter("base64 of 20 MB on one line")
def long_base64():
    return (b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            base64.b64encode(b"hello world " * 1_250_000) + b"\r\n")


@letter("quoted-printable of 20 MB on one line")
def long_quoted():
    return b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n", b"=41=" * 5_000_000 + b"\r\n"


@letter("10 MB in charsets that shift and swell")
def charsets():
    parts = b"".join(b"--b\r\nContent-Type: text/plain; charset=" + name + b"\r\n\r\n" + unit * (1_000_000 // len(unit)) + b"\r\n"
                     for name, unit in ((b"utf-7", b"+AGEAYg-"), (b"iso-2022-jp", b"\x1b$B0!\x1b(B"), (b"gb18030", b"\x818\x818"),
                                        (b"utf-16", b"\xd8\xd8"), (b"big5", b"\xa1\xff"), (b"hz-gb-2312", b"~{0!~}"),
                                        (b"shift_jis", b"\x81\xff"), (b"euc-kr", b"\xa1\xa1"), (b"no-such-charset", b"\xff\xfe"),
                                        (b"x" * 5000, b"\x80")))
    return b"Content-Type: multipart/mixed; boundary=b\r\n", parts + b"--b--\r\n"


@letter("a zip bomb, which nobody opens")
def zipped():
    import io
    import zipfile
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", bytes(20_000_000))
    return (b"Content-Type: application/zip; name=bomb.zip\r\nContent-Transfer-Encoding: base64\r\n",
            base64.encodebytes(packed.getvalue()).replace(b"\n", b"\r\n"))


@letter("300,000 lines that look like boundaries")
def near_boundaries():
    nest = b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (at, at + 1) for at in range(60))
    return b"Content-Type: multipart/mixed; boundary=b0\r\n", nest + b"--b\r\n" * 300_000


@letter("random bytes of 5 MB")
def noise():
    return b"Content-Type: multipart/mixed; boundary=b\r\n", os.urandom(5_000_000).replace(b"\0", b"1").replace(b"\r", b"2").replace(b"\n", b"\r\n")


@letter("an empty letter with every MIME field empty")
def empty():
    return b"To:\r\nCc: ,,,;:;;<>@\r\nDate:\r\nReferences:\r\nContent-Type: ;;;==\"\r\nContent-Disposition: \"\r\nContent-Language: ,,\r\n", b""


def forged_lines(world, _):
    """A letter whose fields try to end a quoted string or a literal of IMAP, or to speak as the server."""
    for value in (b'" {3}', b'\\" NIL', b"a\x00b", b"{99999999}", b"* BYE forged", b"x\x0bt1 OK done", b"=?utf-8?q?=0D=0A*_BYE?="):
        text = b"From: \"" + value + b"\" <a@b.c>\r\nSubject: " + value + b"\r\nMessage-ID: " + value + b"\r\n\r\nx\r\n"
        append(world, text.replace(b"\x00", b"\x01"))
        with world.imap() as talk:
            lines = talk.ok("FETCH * (ENVELOPE BODYSTRUCTURE)")
            assert not any(line.startswith(b"* BYE") or line.startswith(b"t1 ") for line in lines), lines


def crowd(world, _):
    """Hundreds of bombs at once in one mailbox: what is asked of all of them together stays small in memory."""
    with world.imap("Requests") as talk:
        lines = talk.ok("FETCH 1:* (UID RFC822.SIZE)")
        assert len(lines) > 20
        talk.ok("COPY 1:20 Archive") if b"Archive" in b"".join(talk.ok('LIST "" *')) else None


CASES += [("fields that play with the reader's protocol", "imap", forged_lines), ("all of these listed", "imap", crowd)]
