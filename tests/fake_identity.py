"""A small identity provider on loopback: discovery, keys, and a token endpoint that checks PKCE and the client."""

import base64
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = ("farebox", "client secret")


class FakeIdentity:
    """`claims` override what an id token says; `key` signs it."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = self.key
        self.claims: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.algorithm = "RS256"
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/.well-known/openid-configuration":
                    self.reply(200, fake.discovery())
                elif self.path == "/keys":
                    self.reply(200, {"keys": [fake.published.as_dict(private=False)]})
                else:
                    self.reply(404, {})

            def do_POST(self) -> None:
                form = {
                    n: v[0] for n, v in parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()).items()
                }
                self.reply(*fake.token(form, self.headers.get("authorization", "")))

            def reply(self, status: int, body: object) -> None:
                content = msgspec.json.encode(body)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def discovery(self) -> dict[str, str]:
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in paths.items()}}

    def agree(self, location: str) -> dict[str, str]:
        """Somebody was sent here and logs in: the query with which they are sent back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"]
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        basic = "Basic " + base64.b64encode(":".join(map(quote, CLIENT)).encode()).decode()
        if asked is None or challenge.decode() != asked["code_challenge"] or authorization != basic:
            return 400, {"error": "invalid_grant"}
        if form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT[0], "sub": "1", "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            "email": "ann@acme.com", "email_verified": True, **self.claims,
        }  # fmt: skip
        signed = jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, self.key)
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": signed, "expires_in": 300}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
