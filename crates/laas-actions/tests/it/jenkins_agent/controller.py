#!/usr/bin/python3
"""Plays Jenkins: hands out agent.jar, and lets in the agents that know the secret of their node.

/etc/jenkins/<name> holds a node's secret; /var/log/jenkins/<name> is there while its agent is connected, and `log` has a
line for each that was let in or refused.
"""
import http.server
import os
import pathlib

NODES = pathlib.Path("/etc/jenkins")
SEEN = pathlib.Path("/var/log/jenkins")


class Controller(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/jnlpJars/agent.jar":
            return self.answer(200, b"the jar")
        name, secret = self.path.removeprefix("/agent/"), self.headers.get("Secret")
        node = NODES / name
        let_in = node.exists() and secret == node.read_text()
        with open(SEEN / "log", "a") as log:
            log.write(f"{'connected' if let_in else 'refused'} {name}\n")
        self.answer(200 if let_in else 403, b"")
        if let_in:
            (SEEN / name).touch()
            # Until the agent goes.
            self.connection.recv(1)
            (SEEN / name).unlink(missing_ok=True)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


SEEN.mkdir(parents=True, exist_ok=True)
for old in SEEN.glob("*"):
    if old.name != "log":
        old.unlink()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Controller)
server.daemon_threads = True
server.serve_forever()
