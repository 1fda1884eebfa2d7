"""A second reader of statements, written from docs/protocol.md ("Statements") alone and sharing no code with the node.

  python tests/interop/statements.py [--cddl]

Judges every vector of tests/vectors/statements.json; the signatures of COSE_Sign1 are checked by pycose. With --cddl
zcbor holds the good ones against the grammar on the page too. The last line is `N passed, N failed`. What it needs is
in requirements.txt beside it; `scripts/interop statements` provides that.
"""
import functools
import hashlib
import json
import os
import re
import sys
import unicodedata

import cbor2
from pycose.headers import KID, Algorithm
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.keys.keyparam import KpKty, OKPKpCurve, OKPKpX
from pycose.keys.keytype import KtyOKP
from pycose.messages import Sign1Message

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TYPE = "application/vnd.onionskin."
VERSION, CERTIFICATE = -70001, -70002
FUTURE_SECS = 26 * 3600


class Refused(Exception):
    """A statement is refused; the first argument is the word of the reason."""


def need(holds, word):
    if not holds:
        raise Refused(word)


# --- Deterministic CBOR, read by hand: the libraries are too kind.

class Reader:
    """Reads one item of deterministic CBOR."""

    def __init__(self, data):
        self.data, self.at, self.items = data, 0, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "not-deterministic")
        self.at += count
        return self.data[self.at - count:self.at]

    def item(self, depth=8):
        self.items += 1
        need(self.items <= 4096, "not-deterministic")
        first = self.take(1)[0]
        major, number = first >> 5, first & 31
        if major == 7:
            need(number in (20, 21), "not-deterministic")
            return number == 21
        need(number <= 27, "not-deterministic")
        if number >= 24:
            size = 1 << (number - 24)
            number = int.from_bytes(self.take(size), "big")
            need(number >= (24 if size == 1 else 1 << (4 * size)), "not-deterministic")
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self.take(number)
        if major == 3:
            try:
                return self.take(number).decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("not-deterministic") from None
        need(major in (4, 5) and depth > 0, "not-deterministic")
        if major == 4:
            return [self.item(depth - 1) for _ in range(number)]
        result, last = {}, b""
        for _ in range(number):
            begun = self.at
            key = self.item(depth - 1)
            need(self.data[begun:self.at] > last, "not-deterministic")
            last = self.data[begun:self.at]
            result[key if not isinstance(key, (list, dict)) else last] = self.item(depth - 1)
        return result


def decode(data):
    reader = Reader(data)
    item = reader.item()
    need(reader.at == len(data), "not-deterministic")
    return item


# --- Keys: points of the prime-order group.

P = 2 ** 255 - 19
ORDER = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def decompress(key):
    """The point of a canonical encoding, or None."""
    number = int.from_bytes(key, "little")
    y, sign = number % (1 << 255), number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2
    return ((x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P)


def times(number, point):
    result = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


@functools.lru_cache
def is_good_point(key):
    point = decompress(key)
    return point is not None and point != (0, 1) and times(ORDER, point) == (0, 1)


def is_key(key):
    return isinstance(key, bytes) and len(key) == 32 and is_good_point(key)


def verify(data, context, key):
    """The signature of one statement, by pycose; the key and R must not be of small order."""
    need(is_key(key), "key")
    message = Sign1Message.from_cose_obj(cbor2.loads(data), allow_unknown_attributes=True)
    point = decompress(message.signature[:32])
    need(point is not None and times(8, point) != (0, 1), "signature")
    message.external_aad = context
    message.key = OKPKey.from_dict({KpKty: KtyOKP, OKPKpCurve: Ed25519, OKPKpX: key})
    need(message.verify_signature(), "signature")


# --- Fields. Each check takes a value and says whether it is one.

def is_uint(value):
    return type(value) is int and value >= 0


def is_hour(value):
    return is_uint(value) and value % 3600 == 0


def is_bool(value):
    return type(value) is bool


def is_bytes(low, high=None):
    return lambda value: isinstance(value, bytes) and low <= len(value) <= (high or low)


def is_text(most):
    return lambda value: (isinstance(value, str) and len(value.encode()) <= most
                          and all(unicodedata.category(letter) != "Cc" or letter == "\n" for letter in value))


def is_list(low, high, one):
    return lambda value: isinstance(value, list) and low <= len(value) <= high and all(map(one, value))


def is_local(value):
    return (isinstance(value, str) and 1 <= len(value.encode()) <= 64 and value == value.lower()
            and value == unicodedata.normalize("NFC", value)
            and re.fullmatch(r"(?:[a-z0-9!#$%&'*+\-/=?^_`{|}~]|[^\x00-\x7f])+"
                             r"(?:\.(?:[a-z0-9!#$%&'*+\-/=?^_`{|}~]|[^\x00-\x7f])+)*", value) is not None)


def is_names(value):
    return is_list(1, 32, is_local)(value) and len(set(value)) == len(value)


def is_address(value):
    local, _, host = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    return is_local(local) and re.fullmatch(r"[a-z2-7]{56}\.onion", host) is not None


def is_prekey(value):
    return (isinstance(value, list) and len(value) == 3 and is_bytes(1216)(value[0])
            and is_uint(value[1]) and is_uint(value[2]) and value[1] <= value[2])


def is_drop(value):
    return (isinstance(value, list) and len(value) == 3 and is_key(value[0]) and is_bytes(8)(value[1])
            and is_list(0, 128, is_token)(value[2]))


def is_token(value):
    return is_bytes(37)(value) and value[20] <= 6


def is_method(value):
    return type(value) is int and value in (1, 2, 3)


def is_between(least, most):
    return lambda value: is_uint(value) and least <= value <= most


def is_statement(value):
    return isinstance(value, bytes)


held_bytes, held_days = is_between(4 << 20, 1 << 40), is_between(7, 38)
key32, hash32, id16 = is_bytes(32), is_bytes(32), is_bytes(16)
#: kind: signer, longest, fields (an asterisk: may be absent), number of made, number of until
KINDS = {
    "certificate": ("identity", 4096, [key32, is_uint, is_hour, is_uint], 2, 3),
    "card": ("identity", 32768, [is_uint, is_uint, (hash32,), is_hour, is_names, hash32, is_uint,
                                 is_list(1, 9, is_prekey), is_prekey, is_uint], 3, None),
    "route": (2, 16384, [is_key, is_uint, is_hour, is_uint, is_list(0, 8, is_drop)], 2, 3),
    "letter": (1, 98304, [is_address, id16, is_uint, hash32, is_uint, is_hour, is_bool, (is_statement,),
                           (is_bool,)], 5, None),
    "introduction": (2, 40960, [is_key, is_key, is_statement, is_method, is_hour, is_uint, is_text(1000)], 4, 5),
    "vouch": (2, 4096, [is_key, is_method, is_hour, is_uint, is_bool], 2, 3),
    "revocation": ("recovery", 4096, [key32, is_uint, is_hour, is_text(500)], 2, None),
    "successor": ("recovery", 4096, [key32, is_key, is_hour], 2, None),
    "delegation": (2, 4096, [is_key, is_names, is_hour, is_uint], 2, 3),
    "receipt": (1, 4096, [is_key, id16, hash32, is_hour], 3, None),
    "invite": (2, 4096, [is_key, id16, is_hour], 2, None),
    "holder-wish": (2, 4096, [is_key, held_bytes, held_days, is_bytes(32), is_list(1, 8, is_key), is_bool, is_hour],
                    6, None),
    "holder-promise": (2, 4096, [is_key, is_key, is_bytes(8), held_bytes, held_days, is_bool, is_hour], 6, None),
    "announcement": (2, 4096, [is_key, id16, is_uint, is_hour], 3, None),
    "custody": ("identity", 4096, [id16, hash32, is_uint, is_uint, is_hour], 4, None),
    "refusal": (1, 4096, [is_key, id16, hash32, is_between(500, 599), is_text(500), is_hour], 5, None),
}
SUITE = {"card": 6, "letter": 4}


def check_fields(kind, payload):
    need(all(key >= 0 for key in payload), "critical")
    _, _, fields, made, until = KINDS[kind]
    for number, check in enumerate(fields):
        optional = isinstance(check, tuple)
        if number not in payload:
            need(optional, "form")
        else:
            need((check[0] if optional else check)(payload[number]), "form")
    if kind in SUITE:
        need(payload[SUITE[kind]] == 1, "version")
    need(until is None or payload[made] <= payload[until], "form")
    if kind == "certificate":
        need(is_key(payload[0]), "key")
    if kind == "holder-wish":
        need(len(set(payload[4])) == len(payload[4]), "form")
    if kind == "custody":
        need(payload[1][:16] == payload[0] and payload[4] <= payload[3], "form")
    if kind == "card":
        need(payload[1] == 0 or 2 in payload, "form")
        ends = [prekey[1] for prekey in payload[7]]
        need(all(one < following for one, following in zip(ends, ends[1:])), "form")
        need(len({prekey[0] for prekey in payload[7] + [payload[8]]}) == len(payload[7]) + 1, "form")
    if kind == "introduction":
        need(payload[0] != payload[1], "form")


# --- Whole statements.

def parts(data):
    """Kind, author, certificate (or None) and payload of bytes whose form is right."""
    array = decode(data)
    need(isinstance(array, list) and len(array) == 4, "form")
    protected, unprotected, payload, signature = array
    need(isinstance(protected, bytes) and isinstance(payload, bytes), "form")
    need(unprotected == {} and isinstance(signature, bytes) and len(signature) == 64, "form")
    header = decode(protected)
    need(isinstance(header, dict) and all(type(label) in (int, str) for label in header), "form")
    if 2 in header:
        need(isinstance(header[2], list) and header[2], "form")
        for label in header[2]:
            need(label in (1, 4, 16, VERSION, CERTIFICATE), "critical")
            need(label in header, "form")
    need(header.get(1) == -8, "form")
    typ = header.get(16)
    need(isinstance(typ, str) and typ.startswith(TYPE), "form")
    kind = typ[len(TYPE):]
    need(re.fullmatch(r"[a-z][a-z0-9-]{0,31}", kind), "form")
    need(is_uint(header.get(VERSION)), "form")
    need(header[VERSION] == 1, "version")
    need(isinstance(header.get(4), bytes), "form")
    need(is_key(header[4]), "key")
    certificate = header.get(CERTIFICATE)
    need(certificate is None or isinstance(certificate, bytes), "form")
    payload = decode(payload)
    need(isinstance(payload, dict) and all(type(key) is int for key in payload), "form")
    return kind, header[4], certificate, payload


def check_times(kind, payload, at):
    _, _, _, made, until = KINDS[kind]
    if at is not None:
        need(until is None or payload[until] >= at, "expired")
        ages = until is not None and kind != "certificate"
        need(not ages or payload[made] <= at + FUTURE_SECS, "future")


def device_of(certificate, author, scope, at):
    """The payload of a certificate that lets a device sign."""
    need(certificate is not None, "certificate")
    try:
        payload = judge("certificate", certificate, at, None)
        need(parts(certificate)[1] == author and payload[1] & scope == scope, "certificate")
    except Refused:
        raise Refused("certificate") from None
    return payload


def judge(kind, data, at, commitment):
    """The payload of a statement of this kind; raises Refused with the word of the reason."""
    signer, longest = KINDS[kind][:2] if kind in KINDS else (None, 16384)
    need(len(data) <= longest, "too-long")
    found, author, certificate, payload = parts(data)
    need(found == kind, "kind")
    context = b"onionskin/1 " + kind.encode() + b"\0"
    if signer is None:
        signer = 2 if certificate is not None else "identity"
    if signer == "identity":
        need(certificate is None, "form")
        verify(data, context, author)
    elif signer == "recovery":
        need(certificate is None, "form")
        check_fields(kind, payload)
        need(hashlib.sha256(payload[0]).digest() == commitment, "commitment")
        verify(data, context, payload[0])
    else:
        device = device_of(certificate, author, signer, at)
        verify(data, context, device[0])
    if kind in KINDS:
        check_fields(kind, payload)
        check_times(kind, payload, at)
        need(signer not in (1, 2) or payload[KINDS[kind][3]] <= device[3], "certificate")
    return payload


def succession(pinned, new):
    """What a Card is to the pinned one."""
    (_, one, _, old), (_, other, _, card) = parts(pinned), parts(new)
    if one != other:
        return "stranger"
    if pinned == new:
        return "same"
    if old[5] != card[5]:
        return "recovery-change"
    if (card[0], card[1]) < (old[0], old[1]):
        return "older"
    is_next = card[0] == old[0] and card[1] == old[1] + 1
    before = hashlib.sha256(pinned).digest()
    if (card[0], card[1]) == (old[0], old[1]) or (is_next and card.get(2) != before):
        return "fork"
    return "newer"


def answer(vector, vectors, commitment):
    data = bytes.fromhex(vector["bytes"])
    try:
        judge(vector["kind"], data, vector["at"], commitment)
        if "pinned" in vector:
            return succession(bytes.fromhex(vectors[vector["pinned"]]["bytes"]), data)
        return "good"
    except Refused as refused:
        return refused.args[0]


def pycose_takes(data, key, context):
    """What pycose alone says of a signature, without any of our rules."""
    message = Sign1Message.from_cose_obj(cbor2.loads(data), allow_unknown_attributes=True)
    assert message.phdr[Algorithm] is not None and len(message.phdr[KID]) == 32
    message.external_aad = context
    message.key = OKPKey.from_dict({KpKty: KtyOKP, OKPKpCurve: Ed25519, OKPKpX: key})
    return message.verify_signature()


def signing_key(data):
    kind, author, certificate, payload = parts(data)
    signer = KINDS.get(kind, (2,))[0]
    if signer == "identity":
        return author
    return payload[0] if signer == "recovery" else parts(certificate)[3][0]


def pycose_alone(vectors):
    """Good ones pass in their own context and in no other; those with a bad signature or context do not pass."""
    for vector in vectors.values():
        data = bytes.fromhex(vector["bytes"])
        context = b"onionskin/1 " + vector["kind"].encode() + b"\0"
        if vector["expect"] == "good":
            takes = pycose_takes(data, signing_key(data), context)
            yield f"pycose takes {vector['name']}", takes
            takes = pycose_takes(data, signing_key(data), b"onionskin/1 other\0")
            yield f"pycose refuses {vector['name']} in another context", not takes
        elif vector["expect"] == "signature" and vector["kind"] in KINDS:
            yield f"pycose refuses {vector['name']}", not pycose_takes(data, signing_key(data), context)


def grammar(vectors):
    """Every good statement against the CDDL on the page, by zcbor."""
    import zcbor
    with open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8") as page:
        text = page.read()
    cddl = "".join(re.findall(r"```cddl\n(.*?)```", text, re.S))
    # zcbor names what it reads after the types, and wants each name once.
    names = []

    def alone(match):
        names.append(f"type-{len(names)} = {match[1]}\n")
        return f"=> type-{len(names) - 1}{match[2]}"

    cddl = re.sub(r"=> ([a-z]+|bstr \.cbor statement)(,)", alone, cddl) + "".join(names)
    checker = zcbor.DataTranslator.from_cddl(cddl, default_max_qty=64).my_types["statement"]
    for vector in vectors.values():
        # Only those without unknown fields: it wants the keys of a map in the order of the grammar.
        if vector["name"] == f"{vector['kind']}-good":
            try:
                checker.validate_str(bytes.fromhex(vector["bytes"]))
                holds = True
            except Exception as error:
                print(f"  {type(error).__name__}: {error}")
                holds = False
            yield f"the grammar holds for {vector['name']}", holds


def main():
    with open(os.path.join(ROOT, "tests", "vectors", "statements.json"), encoding="utf-8") as file:
        content = json.load(file)
    vectors = {vector["name"]: vector for vector in content["vectors"]}
    commitment = bytes.fromhex(content["commitment"])
    results = []
    for vector in vectors.values():
        word = answer(vector, vectors, commitment)
        holds = word == vector["expect"]
        results.append((f"{vector['name']} is {vector['expect']}" + ("" if holds else f", not {word}"), holds))
    results += pycose_alone(vectors)
    if "--cddl" in sys.argv:
        results += grammar(vectors)
    for line, holds in results:
        if not holds:
            print(f"FAILED  {line}")
    failed = sum(not holds for _, holds in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
