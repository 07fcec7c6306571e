"""A small part of Stripe's API on loopback: lists in pages, as the real one gives them, and events signed by it."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

SECRET = "whsec_test"


def signed(event: dict[str, Any], secret: str = SECRET, at_s: int | None = None) -> tuple[bytes, str]:
    """(body, the header stripe-signature)."""
    body = json.dumps(event).encode()
    moment = int(time.time()) if at_s is None else at_s
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={moment},v1={digest}"


class StripeServer:
    """`lists` holds the objects by path, such as 'customers'. Pages have at most two."""

    def __init__(self, lists: dict[str, list[dict[str, Any]]], key: str = "rk_test") -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                where, query = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
                outer.asked.append(self.path)
                if self.headers["authorization"] != f"Bearer {key}":
                    return self._answer(401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key"}})
                found = lists.get(where.path.removeprefix("/v1/"), [])
                if where.path.endswith("/invoices"):
                    found = [each for each in found if each["status"] == query["status"][0]]
                after = query.get("starting_after", [None])[0]
                at = next((n + 1 for n, each in enumerate(found) if each["id"] == after), 0)
                page = {
                    "object": "list",
                    "url": where.path,
                    "data": found[at : at + 2],
                    "has_more": at + 2 < len(found),
                }
                return self._answer(200, page)

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
