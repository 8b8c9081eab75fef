#!/bin/sh
# A callback: the members of the ensemble become the servers of an nginx upstream.
#   sexton ensemble --role both --app web --callback examples/ensemble/upstreams.sh
# Where the file goes: $UPSTREAMS, or upstreams.conf here. What runs after that: $RELOAD, such as "nginx -s reload".
set -eu
to=${UPSTREAMS:-upstreams.conf}
{
    echo "# $MD5, by leader $FENCE"
    echo "upstream web {"
    # PODS is there as long as the list is not too long for a variable; the file always is.
    python3 -c '
import json, sys
for pod in json.load(open(sys.argv[1])):
    port = (pod["payload"] or {}).get("port", 80)
    address = "[%s]" % pod["ip"] if ":" in pod["ip"] else pod["ip"]
    print("    server %s:%d; # %d %s" % (address, port, pod["seq"], pod["id"]))
' "$PODS_FILE"
    echo "}"
} >"$to.new"
mv "$to.new" "$to" # nobody reads half of it
${RELOAD:+sh -c "$RELOAD" >&2}
# What is printed is kept, and told to the next run in STATE.
echo "{\"digest\": \"$MD5\", \"before\": ${STATE:-null}}" | python3 -c '
import json, sys
state = json.load(sys.stdin)
before = state["before"] or {}
print(json.dumps({"digest": state["digest"], "runs": before.get("runs", 0) + 1}))'
