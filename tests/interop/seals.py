#!/usr/bin/env python3
"""Sealed letters against an independent implementation of age: the npm package age-encryption.

  tests/interop/seals.py [--program FILE] [--onionskin FILE] [--folder DIR]

Installs the package, pinned, into a private folder (npm and node are needed; without them it ends with 77), builds
examples/seal.rs and the program itself unless they are named, and lets each open what the other has sealed: an empty
letter, a short one, one of a whole chunk and one of several. Then each must refuse what was sealed for another key, cut
or changed; and the package opens, with keys that `onionskin key export` wrote, what it sealed for the public one.
The last line is: N passed, N failed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.dont_write_bytecode = True
import nodes  # noqa: E402

PACKAGE = "age-encryption@0.3.1"
CANNOT_HERE = 77
SEED, OTHER_SEED, SEAL_SEED = "11" * 32, "22" * 32, "33" * 32
LENGTHS = [0, 1, 1200, 65526, 65536, 200_000]


class Sides:
    """Both programs."""

    def __init__(self, program, onionskin, folder):
        self.program, self.onionskin, self.folder = program, onionskin, folder
        self.recipient, self.identity = self.keys(SEED)
        _, self.other_identity = self.keys(OTHER_SEED)

    def ours(self, *words, given=b""):
        done = subprocess.run([self.program, *words], input=given, capture_output=True)
        return done.stdout if done.returncode == 0 else None

    def theirs(self, word, key, given):
        done = subprocess.run(["node", os.path.join(self.folder, "seals.mjs"), word, key], input=given,
                              capture_output=True)
        return done.stdout if done.returncode == 0 else None

    def keys(self, seed):
        return self.ours("keys", seed).decode().split()


def letter(length):
    return bytes(33 + at % 89 for at in range(length))


def they_open_what_we_seal(sides):
    for length in LENGTHS:
        sealed = sides.ours("seal", SEAL_SEED, sides.recipient, given=letter(length))
        plain = sides.theirs("open", sides.identity, sealed)
        assert plain is not None, f"{length} bytes did not open"
        head = int.from_bytes(plain[:4], "big")
        assert plain[4 + head:4 + head + length] == letter(length), f"{length} bytes came otherwise"
        assert not plain[4 + head + length:].strip(b"\0"), "the padding is not zero"


def we_open_what_they_seal(sides):
    for length in LENGTHS:
        sealed = sides.theirs("seal", sides.recipient, letter(length))
        assert sides.ours("plain", sides.identity, given=sealed) == letter(length), f"{length} bytes"


def both_name_keys_alike(sides):
    assert sides.theirs("recipient", sides.identity, b"").decode().strip() == sides.recipient


def they_open_with_exported_keys_what_they_seal_for_the_public_one(sides):
    with tempfile.TemporaryDirectory() as folder:
        def command(*words):
            done = subprocess.run([sides.onionskin, "--data-dir", os.path.join(folder, "data"), *words],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout

        command("init", "--no-passphrase")
        recipient = command("key", "export", "--recipient").strip()
        command("key", "export", "--age", os.path.join(folder, "keys"))
        with open(os.path.join(folder, "keys"), encoding="utf-8") as file:
            identities = [line.strip() for line in file if line.startswith("AGE-SECRET-KEY-PQ-1")]
    sealed = sides.theirs("seal", recipient, letter(1200))
    opened = [plain for plain in (sides.theirs("open", identity, sealed) for identity in identities) if plain]
    assert opened == [letter(1200)], f"{len(opened)} of {len(identities)} keys opened it"


def both_refuse_another_key_a_cut_and_a_changed_file(sides):
    for sealed in (sides.ours("seal", SEAL_SEED, sides.recipient, given=letter(100_000)),
                   sides.theirs("seal", sides.recipient, letter(100_000))):
        changed = bytearray(sealed)
        changed[-20_000] ^= 1
        bad = [(sides.other_identity, sealed), (sides.identity, sealed[:-1]), (sides.identity, bytes(changed))]
        for identity, file in bad:
            assert sides.ours("plain", identity, given=file) is None, "ours opened it"
            assert sides.theirs("open", identity, file) is None, "theirs opened it"


CASES = [both_name_keys_alike, they_open_what_we_seal, we_open_what_they_seal,
         they_open_with_exported_keys_what_they_seal_for_the_public_one,
         both_refuse_another_key_a_cut_and_a_changed_file]


def furnish(folder):
    """The package, in a folder of its own."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "package.json"), "w") as file:
        json.dump({"private": True}, file)
    kept = os.path.join(folder, "node_modules", "age-encryption", "package.json")
    if not os.path.exists(kept):
        command = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        if subprocess.run(command, cwd=folder).returncode != 0:
            raise nodes.Failed(f"npm could not install {PACKAGE}")
    shutil.copy(os.path.join(HERE, "seals.mjs"), folder)
    with open(kept) as file:
        print(f"age-encryption {json.load(file)['version']}")


def run():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--program", metavar="FILE")
    parse.add_argument("--onionskin", metavar="FILE")
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    parse.add_argument("--folder", metavar="DIR", default=os.path.join(cache, "onionskin", "age-encryption"))
    args = parse.parse_args()
    if not (shutil.which("npm") and shutil.which("node")):
        print("seals: needs npm and node")
        return CANNOT_HERE
    furnish(args.folder)
    built = None
    if not (args.program and args.onionskin):
        built = nodes.build(ROOT, ["--no-default-features"], "--example", "seal", "--bin", "onionskin")
    program = args.program or os.path.join(built, "debug", "examples", "seal")
    onionskin = args.onionskin or os.path.join(built, "debug", "onionskin")
    sides = Sides(os.path.abspath(program), os.path.abspath(onionskin), args.folder)
    passed = failed = 0
    for case in CASES:
        try:
            case(sides)
            passed += 1
            print(f"{case.__name__} ok", flush=True)
        except AssertionError as error:
            failed += 1
            print(f"{case.__name__} FAILED ({error})", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


nodes.main(run)
