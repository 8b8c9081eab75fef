"""Asks a pod by ZeroRPC, with the client of its reference implementation; prints a line of JSON for each answer."""

import json
import sys

import zerorpc


def tell(**what):
    print(json.dumps(what), flush=True)


def failing(call):
    try:
        return {"answer": call()}
    except zerorpc.RemoteError as error:
        return {"error": error.name, "message": error.msg}


port, token, keepalive = sys.argv[1:]
client = zerorpc.Client(f"tcp://127.0.0.1:{port}", heartbeat=2, timeout=30)
inspected = client._zerorpc_inspect()
tell(name=inspected["name"], methods=sorted(inspected["methods"]), args=inspected["methods"]["ping"]["args"])
tell(pong=client._zerorpc_ping())
tell(ping=client.ping(keepalive))
tell(bad=failing(lambda: client.ping("{")))
tell(unknown=failing(lambda: client.nothing()))
tell(no_token=failing(lambda: client.invoke(json.dumps({"cmd": "true"}))))
tell(wrong=failing(lambda: client.invoke(json.dumps({"cmd": "true", "token": token + "x"}))))
# Longer than this client waits for heartbeats.
command = {"cmd": "sleep 7; echo $INPUT", "token": token}
tell(slow=failing(lambda: client.invoke(json.dumps(command))))
events = [json.loads(line)["event"] for line in client.events(False)]
tell(events=events)
# Many calls on one connection, and what is not read to its end.
for _ in range(300):
    client.ping(keepalive)
following = client.events()
first = json.loads(next(following))
tell(first=first["number"])
client.close()
