#!/bin/sh
# The pod of pod.yaml without a cluster. Usage: local.sh [PORT]
# SEXTON is the path of sexton, if it is not in PATH.
set -eu
sexton=$(command -v "${SEXTON:-sexton}") port=${1:-18081} here=$(cd "$(dirname "$0")" && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

sed "s#/graveyard#$place/graveyard#; s#18081#$port#; s#server.py#$here/server.py#" "$here/server.yaml" > "$place/server.yaml"
"$sexton" -p none up "$place/server.yaml" --control none > "$place/server.log" &
server=$!

# The client's container keeps the configuration of kubexit; only the binary is replaced.
ln -s "$sexton" "$place/kubexit"
code=0
KUBEXIT_NAME=client KUBEXIT_GRAVEYARD="$place/graveyard" KUBEXIT_BIRTH_DEPS=server \
    "$place/kubexit" python3 "$here/client.py" "$port" || code=$?

wait "$server"
cat "$place/server.log"
"$sexton" graves "$place/graveyard"
exit "$code"
