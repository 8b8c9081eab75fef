"""Counts visits. Is ready one second after it has started."""
import argparse, http.server, os, signal, sqlite3, sys, threading, time

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
port = arguments.parse_args().port
began = time.monotonic()


class Visit(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        code, text = 200, "ok\n"
        if self.path == "/ready":
            code, text = (200, "ready\n") if time.monotonic() - began > 1 else (503, "warming up\n")
        elif self.path == "/":
            with sqlite3.connect(os.environ["STATE"] + "/shop.db") as db:
                db.execute("insert into visits default values")
                text = f"visit {db.execute('select count(*) from visits').fetchone()[0]}\n"
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, form, *values):
        if self.path == "/":
            print(form % values, flush=True)


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Visit)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on port {port}")
server.serve_forever()
print("all requests finished", file=sys.stderr)
