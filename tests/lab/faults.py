# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on request. A rule is {"method", "path" (regex on path?query), "action", "skip", "times", ...}; the actions:

status             answer `code` with the error `error` and do not forward
corrupt            flip one bit of the request's body, then forward
lose               forward, let it take effect, then break the connection without an answer
reset              break the connection without forwarding
truncate           forward, and break the connection after `after` bytes of the answer
corrupt_response   forward, and flip one bit of the answer's body
delay              wait `seconds`, then forward
"""

import io
import re
import socket
import threading
import time

from strict_s3 import refuse


class Faults:
    def __init__(self, app):
        self.app = app
        self.rules = []
        self.hits = []
        self.lock = threading.Lock()

    def set(self, rules):
        with self.lock:
            self.rules = [dict(rule, seen=0) for rule in rules]
            self.hits = []

    def __call__(self, environ, start_response):
        rule = self._pick(environ)
        action = rule.get("action")
        if action == "status":
            _drain(environ)
            return refuse(start_response, f"{rule['code']} Injected", rule["error"], "injected")
        if action == "reset":
            return _broken(environ)
        if action == "delay":
            time.sleep(rule["seconds"])
        if action == "corrupt":
            data = bytearray(_drain(environ))
            data[len(data) // 2] ^= 1
            environ["wsgi.input"] = io.BytesIO(bytes(data))
        reply = self.app(environ, start_response if action != "lose" else lambda *_args: None)
        if action == "lose":
            list(reply)
            return _broken(environ)
        if action == "truncate":
            return _truncated(environ, b"".join(reply), rule["after"])
        if action == "corrupt_response":
            data = bytearray(b"".join(reply))
            data[len(data) // 2] ^= 1
            return [bytes(data)]
        return reply

    def _pick(self, environ):
        where = environ["PATH_INFO"] + "?" + environ.get("QUERY_STRING", "")
        with self.lock:
            for rule in self.rules:
                if rule.get("method", environ["REQUEST_METHOD"]) != environ["REQUEST_METHOD"]:
                    continue
                if not re.search(rule.get("path", ""), where):
                    continue
                rule["seen"] += 1
                if rule.get("skip", 0) < rule["seen"] <= rule.get("skip", 0) + rule.get("times", 1):
                    self.hits.append([rule["action"], environ["REQUEST_METHOD"], where])
                    return rule
        return {}


def _drain(environ):
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _truncated(environ, data, after):
    yield data[:after]
    yield from _broken(environ)


def _broken(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("injected")
