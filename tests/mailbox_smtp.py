"""A mail server that takes one connection at a time and remembers whom a message was for."""

import socketserver
import threading
from types import TracebackType
from typing import Self


class Mailbox:
    def __init__(self) -> None:
        self.recipients: list[str] = []
        self.text = ""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 mail\r\n")
                while line := self.rfile.readline().decode().strip():
                    word, _, rest = line.partition(":")
                    if word.upper() == "RCPT TO":
                        outer.recipients.append(rest.strip())
                    if line.upper() == "DATA":
                        self.wfile.write(b"354 go on\r\n")
                        while (part := self.rfile.readline()) != b".\r\n":
                            outer.text += part.decode()
                    self.wfile.write(b"221 bye\r\n" if line.upper() == "QUIT" else b"250 ok\r\n")

        self._server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
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
