#!/bin/sh
# Another user of this machine connects to a node's ports on loopback and is turned away at once:
# other_user.sh BINARY HUB. Needs root, to become that other user (nobody). Ends 0 if it is so.
set -eu
binary=$1 hub=$2
[ "$(id -u)" = 0 ] || { echo "other_user.sh needs root, to become another user" >&2; exit 1; }
dir=$(mktemp -d)
hub_pid= node_pid=
end() {
    for pid in $node_pid $hub_pid; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT

"$hub" "$dir/hub" >"$dir/hub.out" </dev/null & hub_pid=$!
until grep -q ready "$dir/hub.out"; do kill -0 "$hub_pid"; done
"$binary" --data-dir "$dir/data" up --network "sim:$dir/hub" --imap-port 0 --smtp-port 0 \
    >"$dir/up.out" 2>"$dir/up.err" </dev/null & node_pid=$!
until grep -q 'letters can come and go' "$dir/up.out"; do kill -0 "$node_pid"; done
ports=$("$binary" --data-dir "$dir/data" status --json |
    python3 -c 'import json, sys; i = json.load(sys.stdin)["identities"][0]; print(i["imap"]["port"], i["smtp"]["port"])')

# Prints what the port says first, or "closed".
caller='
import socket, sys
said = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
said.settimeout(10)
try:
    print(said.recv(200).decode().strip() or "closed")
except ConnectionResetError:
    print("closed")
'
python=$(python3 -c 'import sys; print(sys.executable)')
# The other user may not be able to reach this one'"'"'s Python; the system'"'"'s can be reached by all.
[ -x /usr/bin/python3 ] && python=/usr/bin/python3
for port in $ports; do
    own=$("$python" -c "$caller" "$port")
    case $own in
    "* "* | "220 "*) ;;
    *) echo "port $port turns its own user away: $own" >&2; exit 1 ;;
    esac
    other=$(setpriv --reuid=nobody --regid=nogroup --clear-groups "$python" -c "$caller" "$port")
    [ "$other" = closed ] || { echo "port $port talks to another user: $other" >&2; exit 1; }
done
# The control socket stands in a directory that others cannot enter.
if setpriv --reuid=nobody --regid=nogroup --clear-groups \
    "$binary" --data-dir "$dir/data" status >/dev/null 2>&1; then
    echo "another user may ask the node" >&2
    exit 1
fi
case $(cat "$dir/up.err") in
*"another user"*) ;;
*) echo "the node did not say that it turned somebody away" >&2; exit 1 ;;
esac
echo "another user is turned away at once"
