#!/bin/sh
# A callback that writes the members of the ensemble as the servers of an nginx upstream.
#   sexton ensemble --role both --app web --callback examples/ensemble/upstreams.sh
# $UPSTREAMS is the file [upstreams.conf]; $RELOAD is a command to run after that, such as "nginx -s reload".
set -eu
to=${UPSTREAMS:-upstreams.conf}
{
    echo "# $MD5, by leader $FENCE"
    echo "upstream web {"
    # PODS is not set if the list is too long for a variable; the file always exists.
    python3 -c '
import json, sys
for pod in json.load(open(sys.argv[1])):
    port = (pod["payload"] or {}).get("port", 80)
    address = "[%s]" % pod["ip"] if ":" in pod["ip"] else pod["ip"]
    print("    server %s:%d; # %d %s" % (address, port, pod["seq"], pod["id"]))
' "$PODS_FILE"
    echo "}"
} >"$to.new"
mv "$to.new" "$to" # readers never see a partial file
${RELOAD:+sh -c "$RELOAD" >&2}
# The output is stored, and passed to the next run in STATE.
echo "{\"digest\": \"$MD5\", \"before\": ${STATE:-null}}" | python3 -c '
import json, sys
state = json.load(sys.stdin)
before = state["before"] or {}
print(json.dumps({"digest": state["digest"], "runs": before.get("runs", 0) + 1}))'
