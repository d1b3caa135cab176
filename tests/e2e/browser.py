"""pgAdmin as a person uses it: a real headless Chromium, driven through what is on the screen."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import FrameLocator, Locator, Page, Response, expect, sync_playwright

OUTPUT = Path(__file__).parents[2] / "test-output"
SECONDS = 1000
# The first page loads some megabytes of scripts, from a pod that has half a processor.
PATIENCE = 90 * SECONDS


def verified_key(url: str, ca_file: Path, address: str) -> str:
    """Verify the server's certificate and host name with the CA, and return the hash of its key."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection((address, port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=host) as tls,
    ):
        certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@contextmanager
def open_page(url: str, ca_file: Path, address: str = "127.0.0.1") -> Iterator[Page]:
    """A page of a fresh Chromium on the URL's host, which is at this address.

    Chromium has a store of authorities per user, which tests leave alone: it is told to accept the one key whose
    certificate has just been verified with the stack's CA, and refuses every other.
    """
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    assert executable, "the browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=Path(__file__).with_name("chromium.py"),
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CHROMIUM": executable},
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--host-resolver-rules=MAP {urlsplit(url).hostname} {address}",
                f"--ignore-certificate-errors-spki-list={verified_key(url, ca_file, address)}",
            ],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


class PgAdmin:
    """pgAdmin in a browser's page.

    Attributes:
        page: The page, for what has no method here.
        elsewhere: Requests that went to any other host.
        troubles: What the browser reported: requests that failed, answers of 500 and above, errors of scripts.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.elsewhere: list[str] = []
        self.troubles: list[str] = []
        page.on("request", lambda request: self._note(request.url))
        page.on("requestfailed", lambda request: self.troubles.append(f"{request.url}: {request.failure}"))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("response", self._note_status)

    def _note(self, url: str) -> None:
        if (
            urlsplit(url).scheme in {"http", "https", "ws", "wss"}
            and urlsplit(url).hostname != urlsplit(self.url).hostname
        ):
            self.elsewhere.append(url)

    def _note_status(self, response: Response) -> None:
        if response.status >= 500:
            self.troubles.append(f"{response.url}: {response.status}")

    def screenshot(self, name: str) -> None:
        OUTPUT.mkdir(exist_ok=True)
        self.page.screenshot(path=OUTPUT / f"pgadmin-{name}.png")

    def submit_login(self, email: str, password: str) -> None:
        self.page.goto(f"{self.url}/login")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[name=internal_button]")

    def login(self, email: str, password: str) -> None:
        self.submit_login(email, password)
        self.page.wait_for_url("**/browser/**")
        self.expand("Servers")

    def node(self, name: str) -> Locator:
        """A node of the tree by its label, which may end in the number of its children."""
        label = self.page.locator(".file-name", has_text=re.compile(rf"^{re.escape(name)}( \(\d+\))?$"))
        return self.page.locator(".file-entry", has=label).first

    def expand(self, *names: str) -> None:
        """Open nodes one after the other, each the parent of the next."""
        for name in names:
            expect(self.node(name)).to_be_visible()
            arrow = self.node(name).locator(".directory-toggle")
            # pgAdmin opens again what was open at the last login, so that a click may come at the wrong moment.
            for _ in range(PATIENCE // SECONDS):
                state = (arrow.get_attribute("class") or "").split()
                if "open" in state:
                    break
                if "loading" not in state:
                    arrow.click()
                self.page.wait_for_timeout(SECONDS)
            expect(arrow).to_have_class(re.compile(r"\bopen\b"))

    @contextmanager
    def query(self, sql: str, *names: str, refused: bool = False) -> Iterator[FrameLocator]:
        """Run SQL in a Query Tool on the last of these nodes; what follows sees its tab, with rows or a message.

        The tab is closed in the end.
        """
        key = self._run_query(sql, names)
        frame = self.page.frame_locator(f"iframe#{key}")
        answer = frame.get_by_text("ERROR:") if refused else frame.get_by_role("gridcell")
        expect(answer.first).to_be_visible()
        yield frame
        self.page.locator(f".dock-tab[data-node-key={key}]").get_by_role("button").click()
        frame.locator("button", has_text="Don't save").click()
        expect(self.page.locator(f".dock-tab[data-node-key={key}]")).to_have_count(0)

    def _run_query(self, sql: str, names: tuple[str, ...]) -> str:
        """Run SQL in a new Query Tool, and return its tab's key."""
        self.expand(*names)
        self.node(names[-1]).locator(".file-name").click()
        tabs = self.page.locator(".dock-tab[data-node-key^=id-query-tool]")
        # There are more where a browser was closed over them: pgAdmin keeps them for the next login.
        known = {tab.get_attribute("data-node-key") for tab in tabs.all()}
        self.page.get_by_role("button", name="Query Tool", exact=True).first.click()
        expect(tabs).to_have_count(len(known) + 1)
        (key,) = {tab.get_attribute("data-node-key") for tab in tabs.all()} - known
        frame = self.page.frame_locator(f"iframe#{key}")
        frame.locator(".cm-content[contenteditable=true]").first.click()
        self.page.keyboard.insert_text(sql)
        self.page.keyboard.press("F5")
        return str(key)

    def register_server(self, name: str, host: str) -> None:
        """Add a server by hand, by the menu."""
        self.expand("Servers")
        self.node("Servers").locator(".file-name").click()
        expect(self.node("Servers")).to_have_class(re.compile(r"\bactive\b"))
        self.page.get_by_role("button", name="Object", exact=True).click()
        self.page.get_by_role("menuitem", name="Register").locator("visible=true").hover()
        self.page.get_by_role("menuitem", name="Server...").locator("visible=true").click()
        dialog = self.page.locator(".dock-style-dialogs")
        dialog.get_by_label("Name", exact=True).fill(name)
        dialog.get_by_label("Connect now?").uncheck()
        dialog.get_by_role("tab", name="Connection", exact=True).click()
        dialog.get_by_label("Host name/address").fill(host)
        dialog.get_by_role("button", name="Save", exact=True).click()
        expect(dialog).to_be_hidden()
        expect(self.node(name)).to_be_visible()
