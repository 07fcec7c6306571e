"""The dashboard on a port, and a real browser in front of it."""

import os
import shutil
import socket
import threading

import uvicorn
from dashboard_site import PASSWORD, Losses, Site
from scripted import until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Served:
    """The dashboard on a port, and a browser whose complaints are collected."""

    def __init__(self, home, site=None, app=None) -> None:
        from playwright.sync_api import sync_playwright

        self.site = site or Site(home, reports=(Losses(),), facts=lambda: object())
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(app or self.site.app, log_config=None, lifespan="off", http="h11", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        assert until(lambda: self._server.started)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        self.complaints: list[str] = []
        self.state = None

    def page(self, theme: str = "light", *, scripted: bool = True, logged_in: bool = True):
        context = self._browser.new_context(
            base_url=self.url,
            color_scheme=theme,
            java_script_enabled=scripted,
            storage_state=self.state if logged_in else None,
        )
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda said: self.complaints.append(f"{page.url}: {said.text}") if said.type == "error" else None
        )
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
        )
        return page

    def log_in_by_the_first_link(self):
        page = self.page(logged_in=False)
        page.goto(f"/login/link/{self.site.directory.users.first_link()}")
        page.fill("[name=name]", "ann@acme.com")
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_selector("nav.side")
        self.state = page.context.storage_state()
        page.context.close()

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()
        self._server.should_exit = True
        self._thread.join(10)
        self.site.close()
