#!/usr/bin/python3
"""Plays `java -jar agent.jar` with the command line of Jenkins' agent. /etc/behave says how else it does."""
import http.client
import pathlib
import signal
import sys
import time
import urllib.parse

words = sys.argv[1:]
options = dict(zip(words[::2], words[1::2]))
behaviour = pathlib.Path("/etc/behave")
behaviour = behaviour.read_text() if behaviour.exists() else ""
if set(options) != {"-jar", "-url", "-name", "-secret", "-workDir"} or len(words) != 10:
    sys.exit(f"unknown options: {words}")
if pathlib.Path(options["-jar"]).read_bytes() != b"the jar":
    sys.exit("Error: Invalid or corrupt jarfile")
secret = pathlib.Path(options["-secret"].removeprefix("@")).read_text()
if behaviour == "die":
    sys.exit(f"the first words of many: {secret} is no secret for me")
if behaviour == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "hang":
    print("INFO: Connecting", flush=True)
    time.sleep(3600)
pathlib.Path(options["-workDir"]).mkdir(exist_ok=True)
url = urllib.parse.urlsplit(options["-url"])
connection = http.client.HTTPConnection(url.hostname, url.port)
connection.connect()
request = f"GET {url.path}agent/{options['-name']} HTTP/1.1\r\nSecret: {secret}\r\n\r\n"
connection.sock.sendall(request.encode())
answer = connection.sock.recv(4096)
if b" 200 " not in answer.split(b"\r\n")[0]:
    sys.exit(f"SEVERE: incorrect secret: {secret}")
print("INFO: Connected", flush=True)
connection.sock.recv(1)
sys.exit("SEVERE: the connection is lost")
