"""Measures sealing and opening beside the bare cipher and the bare operations with keys: scripts/bench seal."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
import nodes  # noqa: E402


def run(args):
    """scripts/bench seal [PROGRAM]: PROGRAM is examples/seal as built; without it it is built, with --release."""
    program = args[0] if args else os.path.join(
        nodes.build(ROOT, ["--release", "--no-default-features"], "--example", "seal"), "release", "examples", "seal")
    done = subprocess.run([program, "speed"], capture_output=True, check=True)
    found = json.loads(done.stdout)
    rate = {key: found["bytes"] / found[key] / 1e6 for key in ("aead_seal", "aead_open", "seal", "open", "sha256")}
    micro = {key: found[key] * 1e6 for key in found if key not in ("bytes", "padded") and key not in rate}
    print("10 MB, MB/s of the letter; the shortest of many runs")
    print(f"  the bare cipher    seals {rate['aead_seal']:7.0f}   opens {rate['aead_open']:7.0f}")
    print(f"  a sealed letter    seals {rate['seal']:7.0f}   opens {rate['open']:7.0f}   "
          f"ratio {rate['seal'] / rate['aead_seal']:.2f} and {rate['open'] / rate['aead_open']:.2f}"
          f" (with {100 * (found['padded'] - 1):.1f} % of padding and tags)")
    print(f"  SHA-256, which its reader computes beside: {rate['sha256']:.0f}")
    made, opened = micro["encapsulate"] + micro["sign"], micro["decapsulate"] + micro["verify"]
    print("4 KB, microseconds")
    print(f"  X-Wing: encapsulate {micro['encapsulate']:.0f}, decapsulate {micro['decapsulate']:.0f};"
          f" Ed25519: sign {micro['sign']:.0f}, verify {micro['verify']:.0f}")
    print(f"  signed and sealed {micro['seal_4k']:.0f} ({micro['seal_4k'] / made:.2f} of the sum), "
          f"opened and verified {micro['open_4k']:.0f} ({micro['open_4k'] / opened:.2f}); together "
          f"{(micro['seal_4k'] + micro['open_4k']) / (made + opened):.2f}")
    return 0
