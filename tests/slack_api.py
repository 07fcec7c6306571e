"""As much of Slack's API as a bot needs to say something and show pictures (docs.slack.dev, Working with files)."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class Slack:
    """`said` are the messages, `files` the uploaded bytes by name. `may_upload`: whether the bot has files:write."""

    def __init__(self, *, may_upload: bool = True) -> None:
        self.said: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.shared: list[dict[str, Any]] = []
        self.may_upload = may_upload
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

            def _answer(self, body: bytes) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                answer = json.dumps(outer.answer(parts.path.removeprefix("/api/"), query, body)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(self, method: str, query: dict[str, str], body: bytes) -> dict[str, Any]:
        if method == "chat.postMessage":
            self.said.append(json.loads(body))
            return {"ok": True, "channel": "C0123456789", "ts": "1.0"}
        if not self.may_upload:
            return {"ok": False, "error": "missing_scope"}
        if method == "files.getUploadURLExternal":
            return {"ok": True, "upload_url": f"{self.url}/up/{query['filename']}", "file_id": query["filename"]}
        if method == "files.completeUploadExternal":
            told = json.loads(body)
            self.shared.append(told)
            return {"ok": True, "files": [{"id": found["id"], "title": found.get("title")} for found in told["files"]]}
        if method.startswith("/up/"):
            self.files[method.removeprefix("/up/")] = body
            return {"ok": True}
        return {"ok": False, "error": f"unknown_method {method}"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
