# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on request. A rule is {"method", "path" (regex on path?query), "action", "skip", "times", ...}; the actions:

status             answer `code` with the error `error` and do not forward
error_in_200       answer 200 with the error `error` in the body, as S3 does when a completion fails late, and do not forward
corrupt            flip one bit of the request's body, then forward
lose               forward, let it take effect, then break the connection without an answer
reset              break the connection without forwarding
truncate           forward, and break the connection after `after` bytes of the answer
corrupt_response   forward, and flip one bit of the answer's body
delay              wait `seconds`, then forward
ignore             forward without the headers whose names begin with one of `headers`
hide               forward, and leave out the headers of the answer whose names begin with one of `headers`
lag                decide on If-None-Match at once, but act `seconds` later, as servers do whose nodes agree in the end
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
        if action == "error_in_200":
            _drain(environ)
            return refuse(start_response, "200 OK", rule["error"], "injected")
        if action == "reset":
            return _broken(environ)
        if action == "delay":
            time.sleep(rule["seconds"])
        if action == "corrupt":
            data = bytearray(_drain(environ))
            data[len(data) // 2] ^= 1
            environ["wsgi.input"] = io.BytesIO(bytes(data))
        if action == "ignore":
            _forget(environ, rule["headers"])
        if action == "hide":
            return self.app(environ, _without(rule["headers"], start_response))
        if action == "lag" and not self._is_there(environ):
            time.sleep(rule["seconds"])
            _forget(environ, ["If-None-Match"])
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

    def _is_there(self, environ):
        kept = {}
        inner = dict(environ, REQUEST_METHOD="HEAD", CONTENT_LENGTH="0", **{"wsgi.input": io.BytesIO()})
        _forget(inner, ["If-None-Match"])
        list(self.app(inner, lambda status, _headers, _info=None: kept.update(status=status)))
        return kept["status"].startswith("200")

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


def _forget(environ, headers):
    beginnings = tuple("HTTP_" + header.upper().replace("-", "_") for header in headers)
    for name in [name for name in environ if name.startswith(beginnings)]:
        del environ[name]


def _without(headers, start_response):
    def respond(status, said, info=None):
        return start_response(status, [each for each in said if not each[0].lower().startswith(tuple(headers))], info)

    return respond


def _truncated(environ, data, after):
    yield data[:after]
    yield from _broken(environ)


def _broken(environ):
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionError("injected")
