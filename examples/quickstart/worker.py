"""Visits the web server every second; with --fail-after N it fails after N visits."""
import argparse, os, sys, time, urllib.request

arguments = argparse.ArgumentParser()
arguments.add_argument("--fail-after", type=int, default=0)
arguments.add_argument("--pause", type=float, default=1)
given = arguments.parse_args()
visits = 0
while True:
    text = urllib.request.urlopen(os.environ["URL"], timeout=5).read().decode().strip()
    visits += 1
    print(f"{text} done")
    if visits == given.fail_after:
        print("ERROR: too many visits, giving up", file=sys.stderr)
        sys.exit(3)
    time.sleep(given.pause)
