#!/usr/bin/env python3
"""A worker without any network interface of its own: takes a job from a pretend queue now and then, and
ends between two jobs when it is told to.

    sexton run --ttl 10s..40s -- examples/worker.py --dowork myqueue
    curl -s localhost:6666
"""
import argparse, signal, sys, threading

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())

parser = argparse.ArgumentParser()
parser.add_argument("--dowork", metavar="QUEUE", required=True)
parser.add_argument("--fail-after", type=int, metavar="JOBS", help="end with code 3 after so many jobs")
parser.add_argument("--job", type=float, default=1.0, metavar="SECONDS", help="how long a job takes")
arguments = parser.parse_args()

done = 0
while not stop.is_set():
    if arguments.fail_after is not None and done >= arguments.fail_after:
        sys.exit(3)
    stop.wait(arguments.job)
    done += 1
    print(f"{arguments.dowork}: job {done} done", flush=True)
print(f"{arguments.dowork}: told to end after {done} jobs", flush=True)
