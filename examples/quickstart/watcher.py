"""Watches how large the database is; ends when it is told to."""
import os, signal, sys, time

path = os.environ["STATE"] + "/shop.db"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("level=info msg=\"the last to leave\"")))
while True:
    size = os.path.getsize(path) if os.path.exists(path) else 0
    print(f'{{"level": "debug", "msg": "database", "bytes": {size}}}')
    time.sleep(10)
