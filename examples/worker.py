#!/usr/bin/env python3
"""A worker without a network interface: takes jobs from a simulated queue, and exits between two jobs on SIGTERM.

    sexton run --ttl 10s..40s -- examples/worker.py --dowork myqueue
    curl -s localhost:6666
"""
import argparse, signal, sys, threading

stop = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())

parser = argparse.ArgumentParser()
parser.add_argument("--dowork", metavar="QUEUE", required=True)
parser.add_argument("--fail-after", type=int, metavar="JOBS", help="exit with code 3 after this number of jobs")
parser.add_argument("--job", type=float, default=1.0, metavar="SECONDS", help="duration of a job")
arguments = parser.parse_args()

done = 0
while not stop.is_set():
    if arguments.fail_after is not None and done >= arguments.fail_after:
        sys.exit(3)
    stop.wait(arguments.job)
    done += 1
    print(f"{arguments.dowork}: job {done} done", flush=True)
print(f"{arguments.dowork}: stopped after {done} jobs", flush=True)
