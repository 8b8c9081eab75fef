#!/usr/bin/env python3
"""Asks the proxy once and is done: a server that is not there yet is an error. Usage: report.py PORT"""
import sys
import urllib.request

answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).read().decode().strip()
print(f"report: the answer is {answer}", flush=True)
