#!/usr/bin/env python3
"""Counts requests, and is healthy 0.3 s after its start. Usage: server.py PORT"""
import http.server
import signal
import sys
import time

HEALTHY_AT = time.monotonic() + 0.3
requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global requests
        healthy = time.monotonic() >= HEALTHY_AT
        if self.path == "/healthz":
            self.send_response(200 if healthy else 503)
            self.end_headers()
            return
        requests += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{requests}\n".encode())

    def log_message(self, *_):
        pass


def stop(*_):
    print(f"server: exiting after {requests} requests", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
