"""Looks through a data directory for what must not lie there: address, keys, recovery words, letters.

Promises: the needles are derived a second time here, from the recovery words alone (the address that comes out is
compared with the node's), in raw bytes, hexadecimal, base32 and base64; and `planted` shows that each would be found.
Leaves to others: starting nodes. Only the Python standard library is used.
"""
import base64
import hashlib
import hmac
import os
import stat

# ed25519's field, its curve constant, and the order of its base point (RFC 8032, section 5.1).
PRIME = 2 ** 255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
BASE_Y = 4 * pow(5, -1, PRIME) % PRIME

# Entropy and words of the test vectors published with BIP39, so that the entropy is known without the word list.
PEOPLE = {
    "ann": ("9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863",
            "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol speed nation "
            "flash devote level hobby quick inner drive ghost inside"),
    "bob": ("066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad",
            "all hour make first leader extend hole alien behind guard gospel lava path output census museum junior "
            "mass reopen famous sing advance salt reform"),
}


def _add(p, q):
    """Sum of two points of the curve, affine (RFC 8032, section 5.1.4, without its shortcuts)."""
    (x1, y1), (x2, y2) = p, q
    k = CURVE_D * x1 * x2 * y1 * y2 % PRIME
    return ((x1 * y2 + x2 * y1) * pow(1 + k, -1, PRIME) % PRIME, (y1 * y2 + x1 * x2) * pow(1 - k, -1, PRIME) % PRIME)


def _base():
    """The base point: y is 4/5, x its even root."""
    square = (BASE_Y * BASE_Y - 1) * pow(CURVE_D * BASE_Y * BASE_Y + 1, -1, PRIME) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    if (root * root - square) % PRIME:
        root = root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return (PRIME - root if root & 1 else root), BASE_Y


def expand(seed):
    """(scalar, hash prefix) of an ed25519 seed."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    return bytes(digest[:32]), bytes(digest[32:])


def public_key(seed):
    """The public key of an ed25519 seed (RFC 8032, section 5.1.5)."""
    scalar = int.from_bytes(expand(seed)[0], "little")
    point, power = (0, 1), _base()
    while scalar:
        if scalar & 1:
            point = _add(point, power)
        power, scalar = _add(power, power), scalar >> 1
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def onion_host(key):
    """The onion address of a public key (Tor's rend-spec-v3, section 6)."""
    checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    return base64.b32encode(key + checksum + b"\x03").decode().lower() + ".onion"


def derive(words):
    """BIP39 seed, identity seed and recovery seed of 24 words."""
    seed = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic", 2048)
    root = hmac.digest(b"onionskin", seed, "sha256")
    one = [hmac.digest(root, info + b"\x01", "sha256") for info in (b"onionskin identity key v1",
                                                                    b"onionskin recovery key v1")]
    return seed, *one


def spellings(value):
    """Bytes as they may be written down; the last character of a base32 or base64 text depends on what follows."""
    pad = b"="
    return [value, value.hex().encode(), value.hex().upper().encode(),
            base64.b32encode(value).rstrip(pad)[:-1], base64.b32encode(value).rstrip(pad)[:-1].lower(),
            base64.b64encode(value).rstrip(pad)[:-1], base64.urlsafe_b64encode(value).rstrip(pad)[:-1]]


def text_spellings(text):
    """A text as UTF-8, UTF-16 and base64 at each of its three alignments."""
    plain, found = text.encode(), [text.encode(), text.encode("utf-16-le")]
    for shift in range(3):
        found.append(base64.b64encode(b"\0" * shift + plain)[4 if shift else 0:].rstrip(b"=")[:-1])
    return found


def of_identity(words, entropy=b""):
    """{needle: what it is} of an identity."""
    seed, identity, recovery = derive(words)
    scalar, prefix = expand(identity)
    key = public_key(identity)
    values = {"BIP39 seed": seed, "identity seed": identity, "recovery seed": recovery, "identity scalar": scalar,
              "identity hash prefix": prefix, "recovery scalar": expand(recovery)[0], "public key": key}
    if entropy:
        values["recovery entropy"] = entropy
    needles = {spelling: what for what, value in values.items() for spelling in spellings(value)}
    host = onion_host(key).removesuffix(".onion")
    needles |= {host.encode(): "address", host.upper().encode(): "address"}
    each = words.split()
    for joint in (" ", "\n", ","):
        needles |= {joint.join(pair).encode(): "recovery words" for pair in zip(each, each[1:])}
    return needles


def search(folder, needles):
    """[(file, what)] of all needles in names and contents below a folder, and how many files were read."""
    found, files = [], 0
    for where, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(where, name)
            found += [(path, what) for needle, what in needles.items() if needle in os.fsencode(name)]
        for name in names:
            path = os.path.join(where, name)
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                with open(path, "rb") as file:
                    content = file.read()
            except FileNotFoundError:
                continue  # a running node replaces files
            files += 1
            found += [(path, what) for needle, what in needles.items() if needle in content]
    return found, files


def planted(folder, needles):
    """What of the needles is not found although it was put there: must be nothing."""
    os.makedirs(folder)
    missed = []
    for needle, what in needles.items():
        path = os.path.join(folder, "planted")
        with open(path, "wb") as file:
            file.write(b"x" * 4093 + needle + b"y")
        if (path, what) not in search(folder, {needle: what})[0]:
            missed.append(what)
    return missed
