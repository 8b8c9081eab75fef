#!/bin/sh
# The Job of job.yaml without a cluster: two processes and a directory. Usage: local.sh [PORT]
# SEXTON is the path of sexton, if it is not in PATH.
set -eu
sexton=${SEXTON:-sexton} port=${1:-18080} here=$(dirname "$0")
graveyard=$(mktemp -d)
trap 'rm -rf "$graveyard"' EXIT

"$sexton" run -p none --name proxy --graveyard "$graveyard" --death-dep report --exit-codes caused=0 \
    -- python3 "$here/proxy.py" "$port" &
proxy=$!

code=0
"$sexton" run -p none --name report --graveyard "$graveyard" \
    --birth-dep proxy --wait-for "http://127.0.0.1:$port/" \
    -- python3 "$here/report.py" "$port" || code=$?

wait "$proxy"
echo "job: report exited with $code, proxy with 0"
"$sexton" graves "$graveyard"
exit "$code"
