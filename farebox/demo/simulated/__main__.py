"""`python -m farebox.demo.simulated --port 0`: run the simulated providers until SIGINT or SIGTERM.

Prints one line of JSON with its URL once it listens.
"""

import argparse
import asyncio
import json
import resource
import signal
import ssl
import sys
from pathlib import Path

from farebox.demo.simulated import PROVIDERS, SimulatedProviders, run


def main() -> None:
    """Parse, serve, stop."""
    arguments = _parser().parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tls = None
    if arguments.tls_cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    simulated = SimulatedProviders(
        host=arguments.host, port=arguments.port, log_file=arguments.log, static=arguments.static, tls=tls
    )
    run(_serve(simulated))


async def _serve(simulated: SimulatedProviders) -> None:
    serving = asyncio.ensure_future(simulated.serve(lambda: _announce(simulated)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, simulated.request_stop)
    await serving


def _announce(simulated: SimulatedProviders) -> None:
    urls = {name: simulated.base_url(name) for name in PROVIDERS}
    sys.stdout.write(json.dumps({"url": simulated.url, "base_urls": urls}) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m farebox.demo.simulated", description="Simulated LLM providers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append a line of JSON for each request, before it is answered")
    parser.add_argument("--static", action="store_true", help="answer repeated requests from memory; log nothing")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    return parser


if __name__ == "__main__":
    main()
