#!/usr/bin/env python3
"""Writes cctv.json: the public age test vectors, from the npm package cctv-age, one on a line.

The package holds each vector as a file of its own form: lines of `key: value`, an empty line, and the age file, which
may be compressed. Here a long run of one byte is [byte, how many] among pieces of base64, so that nothing need be
unpacked. Needs npm and node. See README.md beside this.
"""
import base64
import json
import os
import re
import subprocess
import tempfile
import zlib

PACKAGE = "cctv-age@0.2.0"
RUN_LEN_MIN = 64
DUMP = """import * as all from './package/index.js'
console.log(JSON.stringify(Object.fromEntries(Object.entries(all).map(([name, bytes]) =>
  [name, Buffer.from(bytes).toString('base64')]))))"""


def pieces(data):
    """`data` as base64 texts and runs."""
    found, at = [], 0
    for run in re.finditer(rb"(.)\1{%d,}" % (RUN_LEN_MIN - 1), data, re.DOTALL):
        if run.start() > at:
            found.append(base64.b64encode(data[at:run.start()]).decode())
        found.append([data[run.start()], run.end() - run.start()])
        at = run.end()
    if data[at:]:
        found.append(base64.b64encode(data[at:]).decode())
    return found


def main():
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=work, check=True, stdout=subprocess.DEVNULL)
        subprocess.run("tar xzf *.tgz", cwd=work, check=True, shell=True)
        with open(os.path.join(work, "dump.mjs"), "w") as script:
            script.write(DUMP)
        dumped = json.loads(subprocess.run(["node", "dump.mjs"], cwd=work, check=True, capture_output=True).stdout)
    lines = []
    for name, text in sorted(dumped.items()):
        head, file = base64.b64decode(text).split(b"\n\n", 1)
        keys = dict(line.split(": ", 1) for line in head.decode().split("\n"))
        if keys.get("armored"):
            continue
        if keys.get("compressed") == "zlib":
            file = zlib.decompress(file)
        kept = {key.replace(" ", "_"): keys[key] for key in ("expect", "payload", "identity", "file key") if key in keys}
        lines.append(json.dumps({"name": name, **kept, "file": pieces(file)}))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "cctv.json"), "w") as out:
        out.write("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(lines), "vectors")


main()
