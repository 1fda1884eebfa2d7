"""A second reader of letters, written from docs/protocol.md ("Sealed letters", "What the reader's node writes") and
public libraries, sharing no code with the node. Statements are judged by statements.py beside it.

  python tests/interop/reader.py
  python tests/interop/reader.py open IDENTITY < SEALED      prints the letter (IDENTITY: AGE-SECRET-KEY-PQ-1…)
  python tests/interop/reader.py verify < SAVED              says who signed a letter saved to a file

Without words it judges every vector of tests/vectors/letter.json and seals.json: opens them, makes them again byte for
byte, and sees the bad ones refused. ML-KEM is kyber-py's, X25519, HKDF and ChaCha20-Poly1305 are cryptography's. The
last line is `N passed, N failed`.
"""
import base64
import binascii
import email.utils
import hashlib
import hmac
import json
import os
import re
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from kyber_py.ml_kem import ML_KEM_768

import statements
from statements import ROOT, Refused, need

CHUNK, TAG, HEAD = 65536, 16, 1643
INFO = b"age-encryption.org/mlkem768x25519"
PREFIX_MAX, FRAME_STATEMENTS_MAX = 98304, 11


def hkdf(salt, key, info, length=32):
    return HKDF(SHA256(), length, salt, info).derive(key)


# --- Prekeys: X-Wing.

def bech32(text, prefix):
    """The bytes of a key as age writes it."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    text = text.lower()
    need(text.startswith(prefix + "1"), "seal")
    groups = [letters.index(letter) for letter in text[len(prefix) + 1:]]
    check = 1
    for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + groups:
        top, check = check >> 25, (check & 0x1ffffff) << 5 ^ value
        for bit, term in enumerate((0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3)):
            check ^= term if top >> bit & 1 else 0
    need(check == 1, "seal")
    bits = "".join(f"{group:05b}" for group in groups[:-6])
    return bytes(int(bits[at:at + 8], 2) for at in range(0, len(bits) - len(bits) % 8, 8))


class Prekey:
    """A key of X-Wing that grows from 32 bytes."""

    def __init__(self, seed):
        expanded = hashlib.shake_256(seed).digest(96)
        self.lattice_public, self.lattice = ML_KEM_768.key_derive(expanded[:64])
        self.curve = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public = self.lattice_public + self.curve.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public).hexdigest()[:16]

    def decapsulate(self, sent):
        one = ML_KEM_768.decaps(self.lattice, sent[:1088])
        try:
            other = self.curve.exchange(X25519PublicKey.from_public_bytes(sent[1088:]))
        except ValueError:
            raise Refused("seal") from None
        return combine(one, other, sent[1088:], self.public)


def combine(one, other, sent, public):
    return hashlib.sha3_256(one + other + sent + public[1184:] + rb"\./" + rb"/^" + b"\\").digest()


def encapsulate(public, randomness):
    """What is sent, and the secret; the 64 random bytes are given."""
    one, lattice = ML_KEM_768._encaps_internal(public[:1184], randomness[:32])
    curve = X25519PrivateKey.from_private_bytes(randomness[32:])
    sent = curve.public_key().public_bytes_raw()
    other = curve.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return lattice + sent, combine(one, other, sent, public)


def hpke(secret):
    """Cipher and nonce of the first message (RFC 9180, base mode)."""
    suite = b"HPKE" + bytes.fromhex("647a00010003")

    def extract(salt, label, value):
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + value, "sha256")

    def expand(key, label, info, length):
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return HKDFExpand(SHA256(), length, labelled).derive(key)

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", INFO)
    key = extract(secret, b"secret", b"")
    return ChaCha20Poly1305(expand(key, b"key", context, 32)), expand(key, b"base_nonce", context, 12)


# --- The file.

def text_of(data):
    return base64.b64encode(data).rstrip(b"=")


def bytes_of(text, length):
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise Refused("seal") from None
    need(len(data) == length and text_of(data) == text, "seal")
    return data


def header_of(file):
    """What was encapsulated, the file key encrypted, the bytes under the MAC, and the MAC."""
    lines = file[:1627].split(b"\n")
    need(len(lines) == 5 and lines[4] == b"" and lines[0] == b"age-encryption.org/v1", "seal")
    need(lines[1].startswith(b"-> mlkem768x25519 ") and lines[3].startswith(b"--- "), "seal")
    covered = b"\n".join(lines[:3]) + b"\n---"
    return bytes_of(lines[1][18:], 1120), bytes_of(lines[2], 32), covered, bytes_of(lines[3][4:], 32)


def nonce(counter, last):
    return counter.to_bytes(11, "big") + bytes([last])


def open_file(file, prekey):
    """The plaintext of a sealed file."""
    need(len(file) >= HEAD + TAG, "seal")
    sent, wrapped, covered, mac = header_of(file)
    cipher, base = hpke(prekey.decapsulate(sent))
    chunks = [file[at:at + CHUNK + TAG] for at in range(HEAD, len(file), CHUNK + TAG)]
    try:
        file_key = cipher.decrypt(base, wrapped, b"")
        need(hmac.compare_digest(hmac.digest(hkdf(b"", file_key, b"header"), covered, "sha256"), mac), "seal")
        cipher = ChaCha20Poly1305(hkdf(file[1627:HEAD], file_key, b"payload"))
        plain = [cipher.decrypt(nonce(at, at == len(chunks) - 1), chunk, b"") for at, chunk in enumerate(chunks)]
    except InvalidTag:
        raise Refused("seal") from None
    need(plain[-1] or len(plain) == 1, "seal")
    return b"".join(plain)


def seal(public, seed, header, letter):
    """The sealed file, made as the node makes it."""
    prefix = len(header).to_bytes(4, "big") + header
    about = hashlib.sha256(public).digest() + hashlib.sha256(prefix).digest()

    def secret(label, length):
        return hkdf(b"onionskin/1 seal", seed, label + b"\0" + about, length)

    file_key, lasting = secret(b"file key", 16), secret(b"nonce", 16)
    sent, shared = encapsulate(public, secret(b"encapsulation", 64))
    cipher, base = hpke(shared)
    covered = (b"age-encryption.org/v1\n-> mlkem768x25519 " + text_of(sent) + b"\n"
               + text_of(cipher.encrypt(base, file_key, b"")) + b"\n---")
    mac = hmac.digest(hkdf(b"", file_key, b"header"), covered, "sha256")
    plain = prefix + letter
    plain += bytes(padded(len(plain)) - len(plain))
    cipher = ChaCha20Poly1305(hkdf(lasting, file_key, b"payload"))
    pieces = [plain[at:at + CHUNK] for at in range(0, len(plain), CHUNK)]
    sealed = [cipher.encrypt(nonce(at, at == len(pieces) - 1), piece, b"") for at, piece in enumerate(pieces)]
    return b"".join([covered, b" ", text_of(mac), b"\n", lasting, *sealed])


# --- The plaintext.

def padded(length):
    for size in (4096, 8192, 16384, 32768, 65536):
        if length <= size:
            return size
    log = length.bit_length() - 1
    step = 1 << (log - (log.bit_length() - 1) - 1)
    return -(-length // step) * step


def split(plain):
    """The header part, and what is behind it."""
    length = int.from_bytes(plain[:4], "big")
    need(1 <= length <= PREFIX_MAX, "header length")
    need(4 + length <= len(plain), "length")
    return plain[4:4 + length], plain[4 + length:]


def letter_in(header, rest, length, digest):
    """The letter, if it is the one that was signed, and rightly padded."""
    letter, zeros = rest[:length], rest[length:]
    whole = padded(4 + len(header) + length) - (4 + len(header))
    need(len(rest) == whole, "length")
    need(not any(zeros), "padding")
    need(hashlib.sha256(letter).digest() == digest, "digest")
    return letter


def frame(header):
    """The letter statement, and what is enclosed with it."""
    try:
        parts = statements.decode(header)
    except Refused:
        raise Refused("frame") from None
    good = isinstance(parts, list) and 1 <= len(parts) <= FRAME_STATEMENTS_MAX
    need(good and all(isinstance(part, bytes) for part in parts), "frame")
    return parts[0], parts[1:]


def judged(statement, at):
    """Author and payload of a letter statement."""
    try:
        return statements.parts(statement)[1], statements.judge("letter", statement, at, None)
    except Refused as refused:
        raise Refused("statement", *refused.args) from None


def open_letter(file, prekey, reader, at):
    """Author, payload, enclosed statements and letter of a sealed file."""
    header, rest = split(open_file(file, prekey))
    statement, enclosed = frame(header)
    author, payload = judged(statement, at)
    need(reader is None or payload[0] == reader, "reader")
    return author, payload, enclosed, letter_in(header, rest, payload[2], payload[3])


# --- Saved letters.

def fields_of(block):
    """Names in lower case, values on one line, and raw bytes of the fields of a header without its empty line."""
    raws = re.findall(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", block)
    need(b"".join(raws) == block and all(re.match(rb"[!-9;-~]+[ \t]*:", raw) for raw in raws), "malformed")
    pairs = [raw.split(b":", 1) for raw in raws]
    return [(name.strip().lower().decode(), re.sub(rb"\r\n", b"", value).strip(), raw)
            for (name, value), raw in zip(pairs, raws)]


def cut(letter):
    at = letter.find(b"\r\n\r\n")
    need(at >= 0, "malformed")
    return letter[:at + 2], letter[at + 4:]


def bytes_in(value):
    try:
        return base64.b64decode(re.sub(rb"\s", b"", value), validate=True)
    except binascii.Error:
        raise Refused("malformed") from None


def authors(fields):
    """The addresses in From."""
    value = [value for name, value, _ in fields if name == "from"]
    need(len(value) == 1, "author")
    return [address for _, address in email.utils.getaddresses([value[0].decode("utf-8", "replace")])]


def is_of(address, key):
    host = address.rpartition("@")[2].lower()
    return host == onion(key)


def onion(key):
    check = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + check + b"\x03").decode().lower() + ".onion"


DROPPED = {"return-path", "delivered-to", "x-original-to", "status", "x-status", "x-uid", "x-keywords", "x-imapbase"}


def is_kept(name, value, own):
    """Whether the reader's node leaves a field where it is."""
    if name in ("authentication-results", "arc-authentication-results"):
        return own.encode() not in value.lower() and value[:1].isalnum()
    return name not in DROPPED and not name.startswith("x-onionskin-")


def verify_saved(letter):
    """Author, payload, and when the reader says it came, of a letter as it is in the reader's mailbox."""
    letter = re.sub(rb"(?<!\r)\n", b"\r\n", letter)
    block, content = cut(letter)
    fields = fields_of(block)
    names = [name for name, _, _ in fields]
    need("x-onionskin-signed" in names, "unsealed")
    at = names.index("x-onionskin-signed")
    above, below = fields[:at], fields[at + 1:]
    received = [value for name, value, _ in above if name == "received"]
    came = email.utils.parsedate_to_datetime(received[-1].rpartition(b";")[2].decode()) if received else None
    came = int(came.timestamp()) if came else None
    author, payload = judged(bytes_in(fields[at][1]), came)
    if below and below[0][0] == "x-onionskin-original":
        header, below = bytes_in(below[0][1]), below[1:]
        signed_fields = fields_of(header[:-2])
    else:
        header, signed_fields = b"".join(raw for _, _, raw in below) + b"\r\n", below
    whole = header + content
    rest = whole[payload[2]:]
    need(len(whole) >= payload[2] and not rest.strip(b"\r\n"), "length")
    need(hashlib.sha256(whole[:payload[2]]).digest() == payload[3], "altered")
    need(all(is_of(address, author) for address in authors(signed_fields)), "author")
    kept = [field for field in signed_fields if is_kept(*field[:2], payload[0].rpartition("@")[2])]
    need(len(kept) == len(below), "header-altered")
    for was, now in zip(kept, below):
        canonical = was[0] == now[0] == "from" and all(is_of(address, author) for address in authors([now]))
        need(was[2] == now[2] or canonical, "header-altered")
    return author, payload, came


# --- The vectors.

def load(name):
    with open(os.path.join(ROOT, "tests", "vectors", name), encoding="utf-8") as file:
        return json.load(file)


def pieces(parts):
    return b"".join(base64.b64decode(part) if isinstance(part, str) else bytes([part[0]]) * part[1] for part in parts)


def word_of(act, *words):
    """"good" or the word of the reason."""
    try:
        act(*words)
        return "good"
    except Refused as refused:
        return refused.args[0]


def whole_letters(vectors):
    prekey = Prekey(bech32(vectors["identity"], "age-secret-key-pq-"))
    yield "the prekey is named as it says", prekey.id == vectors["prekey_id"]
    for vector in vectors["sealed"]:
        file = base64.b64decode(vector["sealed"])
        name = hashlib.sha256(file).hexdigest()[:32]
        word = word_of(open_letter, file, prekey, vectors["reader"], vectors["at"])
        yield f"sealed, {vector['name']}: {vector['expect']}, not {word}", word == vector["expect"]
        yield f"sealed, {vector['name']}: its name in LETTER", name == vector["transfer_id"]
        if word == "good":
            author, payload, enclosed, letter = open_letter(file, prekey, vectors["reader"], vectors["at"])
            shows = {"to": payload[0], "id": payload[1].hex(), "length": payload[2], "digest": payload[3].hex(),
                     "made": payload[5], "receipt": payload[6], "letter": letter.decode(),
                     "enclosed": [statements.parts(one)[0] for one in enclosed]}
            yield "the letter shows what it says", shows == vector["shows"]
            yield "its author is who it says", onion(author) == vectors["author"].rpartition("@")[2]
            yield "the enclosed Card is the author's", all(
                statements.judge("card", one, vectors["at"], None) and statements.parts(one)[1] == author
                for one in enclosed)
    for vector in vectors["saved"]:
        word = word_of(verify_saved, base64.b64decode(vector["letter"]))
        yield f"saved, {vector['name']}: {vector['expect']}, not {word}", word == vector["expect"]


def seals(vectors):
    for number, vector in enumerate(vectors["sealed"]):
        prekey = Prekey(bytes.fromhex(vector["prekey_seed"]))
        header, letter = base64.b64decode(vector["header"]), pieces(vector["letter"])
        yield f"prekey {number}", (base64.b64encode(prekey.public).decode(), prekey.id) == (
            vector["prekey"], vector["prekey_id"])
        yield f"its recipient {number}", bech32(vector["recipient"], "age1pq") == prekey.public
        file = seal(prekey.public, bytes.fromhex(vector["seal_seed"]), header, letter)
        yield f"seal {number} is made again", (len(file), hashlib.sha256(file).hexdigest()) == (
            vector["sealed_len"], vector["sealed_sha256"])
        found, rest = split(open_file(file, prekey))
        digest = hashlib.sha256(letter).digest()
        yield f"seal {number} opens", found == header and letter_in(header, rest, len(letter), digest) == letter
    for number, vector in enumerate(vectors["foreign"]):
        prekey = Prekey(bytes.fromhex(vector["prekey_seed"]))
        plain = open_file(base64.b64decode(vector["file"]), prekey)
        yield f"a file of another program opens, {number}", plain == base64.b64decode(vector["plain"])
    for vector in vectors["refused"]:
        def take():
            header, rest = split(pieces(vector["plain"]))
            letter_in(header, rest, vector["length"], bytes.fromhex(vector["digest"]))
        word = word_of(take).replace("good", "nothing wrong")
        yield f"plaintext, {vector['name']}: {vector['error']}, not {word}", word == vector["error"]


def main():
    if sys.argv[1:2] == ["open"]:
        prekey = Prekey(bech32(sys.argv[2], "age-secret-key-pq-"))
        sys.stdout.buffer.write(open_letter(sys.stdin.buffer.read(), prekey, None, None)[3])
        return 0
    if sys.argv[1:] == ["verify"]:
        author, payload, came = verify_saved(sys.stdin.buffer.read())
        print(f"signed by {onion(author)} for {payload[0]}, letter {payload[1].hex()}, came {came}")
        return 0
    results = [*whole_letters(load("letter.json")), *seals(load("seals.json"))]
    for line, holds in results:
        if not holds:
            print(f"FAILED  {line}")
    failed = sum(not holds for _, holds in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as refused:
        sys.exit(f"refused: {' '.join(refused.args)}")
