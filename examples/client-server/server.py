#!/usr/bin/env python3
"""Counts what it is asked, and is healthy a while after its start. Usage: server.py PORT"""
import http.server
import signal
import sys
import time

HEALTHY_AT = time.monotonic() + 0.3
asked = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        healthy = time.monotonic() >= HEALTHY_AT
        if self.path == "/healthz":
            self.send_response(200 if healthy else 503)
            self.end_headers()
            return
        asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{asked}\n".encode())

    def log_message(self, *_):
        pass


def leave(*_):
    print(f"server: ends after {asked} requests", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, leave)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
