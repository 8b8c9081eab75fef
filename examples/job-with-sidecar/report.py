#!/usr/bin/env python3
"""Sends one request to the proxy and exits; fails if the proxy does not listen yet. Usage: report.py PORT"""
import sys
import urllib.request

answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).read().decode().strip()
print(f"report: the answer is {answer}", flush=True)
