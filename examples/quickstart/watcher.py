"""Reports the size of the database; exits on SIGTERM."""
import os, signal, sys, time

path = os.environ["STATE"] + "/shop.db"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("level=info msg=\"last process exiting\"")))
while True:
    size = os.path.getsize(path) if os.path.exists(path) else 0
    print(f'{{"level": "debug", "msg": "database", "bytes": {size}}}')
    time.sleep(10)
