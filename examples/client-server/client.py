#!/usr/bin/env python3
"""Sends three requests and exits. Usage: client.py PORT"""
import sys
import urllib.request

for _ in range(3):
    answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).read().decode().strip()
    print(f"client: the server says {answer}", flush=True)
