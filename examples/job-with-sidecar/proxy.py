#!/usr/bin/env python3
"""A small server on 127.0.0.1 that is ready 0.3 s after its start. Usage: proxy.py PORT"""
import http.server
import signal
import sys
import time

READY_AT = time.monotonic() + 0.3


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() >= READY_AT
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b"42\n" if ready else b"not yet\n")

    def log_message(self, *_):
        pass


def stop(*_):
    print("proxy: received SIGTERM", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print("proxy: starting", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
