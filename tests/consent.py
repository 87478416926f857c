#!/usr/bin/env python3
"""A scripted browser for the consent flow: consent.py URL --login ADDRESS [--password-file FILE] ...

Opens URL, follows redirects, signs in and consents at the test stack's authorization server, clicks
through our own pages where --click allows it, and reports the page on which it ends. It keeps cookies as
a browser does (Secure ones also on plain-http loopback; a __Host- cookie only with what that name
demands), talks to loopback only, and gives up after 20 hops. It runs no scripts.

Exit: 0 the walk ended on a page (whatever its status), 1 it could not go on, 2 wrong usage.
"""
import argparse
import http.cookiejar
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, dataclass
from html.parser import HTMLParser

MAX_HOPS = 20
TIMEOUT_S = 20
MAX_PAGE = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Stuck(Exception):
    """The walk cannot go on."""


@dataclass
class Page:
    url: str
    status: int  # 0: the walk stopped before this URL was asked for
    headers: dict
    html: str


class CookieRules(http.cookiejar.DefaultCookiePolicy):
    def __init__(self):
        # Browsers count http on loopback as a secure context.
        super().__init__(secure_protocols=("http", "https"))

    def set_ok(self, cookie, request):
        if cookie.name.startswith("__Host-") and (not cookie.secure or cookie.path != "/" or cookie.domain_specified):
            raise Stuck(f"a browser would refuse the cookie {cookie.name}: __Host- needs Secure, Path=/ and no Domain")
        return super().set_ok(cookie, request)


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    """Cookies and redirects. Every request is a hop."""

    def __init__(self, jar_file=None, ca_file=None, stop_at=None):
        self.jar = http.cookiejar.MozillaCookieJar(jar_file, policy=CookieRules())
        if jar_file:
            try:
                self.jar.load(ignore_discard=True)
            except FileNotFoundError:
                pass
        self.stop_at = stop_at
        self.hops = []
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
        no_proxy = urllib.request.ProxyHandler({})
        self.opener = urllib.request.build_opener(no_proxy, tls, NoRedirects, urllib.request.HTTPCookieProcessor(self.jar))

    def open(self, url, form=None, sender=None):
        """The page at which the redirects from URL end (or --stop-at, unvisited). `sender` is the form's page."""
        while True:
            page = self._hop(url, form, sender)
            location = page.headers.get("location")
            if page.status not in (301, 302, 303, 307, 308) or not location:
                return page
            keeps_form = page.status in (307, 308)
            url, form = urllib.parse.urljoin(url, location), form if keeps_form else None
            if self.stop_at and url.startswith(self.stop_at):
                return Page(url, 0, {}, "")

    def _hop(self, url, form, sender):
        if urllib.parse.urlsplit(url).hostname not in LOOPBACK:
            raise Stuck(f"only loopback may be visited, not {url}")
        if len(self.hops) == MAX_HOPS:
            raise Stuck(f"more than {MAX_HOPS} hops: {' '.join(self.hops)}")
        self.hops.append(url.partition("?")[0])
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(url, data, {"Accept": "text/html", "User-Agent": "consent.py"})
        if form is not None:
            parts = urllib.parse.urlsplit(sender or url)
            request.add_header("Origin", f"{parts.scheme}://{parts.netloc}")
        try:
            answer = self.opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            answer = error
        except OSError as error:
            raise Stuck(f"{url}: {error}") from error
        with answer:
            html = answer.read(MAX_PAGE).decode(errors="replace")
            return Page(url, answer.status, {k.lower(): v for k, v in answer.headers.items()}, html)

    def save(self):
        if self.jar.filename:
            self.jar.save(ignore_discard=True)

    def cookies(self):
        """Names and attributes, without values."""
        return [
            {"name": c.name, "host": c.domain, "path": c.path, "secure": c.secure,
             "http_only": c.has_nonstandard_attr("HttpOnly"), "same_site": c.get_nonstandard_attr("SameSite")}
            for c in self.jar
        ]


class Form:
    def __init__(self, attributes):
        self.action = attributes.get("action", "")
        self.is_post = attributes.get("method", "get").lower() == "post"
        self.fields = {}  # the values of hidden and filled fields
        self.inputs = set()  # the names of all fields that a person fills
        self.buttons = []  # (name, value), name None for a button that sends nothing


class PageReader(HTMLParser):
    """The forms and the visible text of a page."""

    def __init__(self, html):
        super().__init__()
        self.forms, self.words, self.hidden = [], [], 0
        self.form = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form = Form(attributes)
            self.forms.append(self.form)
        elif tag in ("style", "script"):
            self.hidden += 1
        elif self.form and tag in ("input", "button"):
            self._field(tag, attributes)

    def _field(self, tag, attributes):
        kind = attributes.get("type", "submit" if tag == "button" else "text")
        name, value = attributes.get("name"), attributes.get("value", "")
        if kind == "submit":
            self.form.buttons.append((name, value))
        elif name and kind not in ("button", "reset"):
            if kind not in ("checkbox", "radio") or "checked" in attributes:
                self.form.fields[name] = value
            if kind != "hidden":
                self.form.inputs.add(name)

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None
        elif tag in ("style", "script"):
            self.hidden -= 1

    def handle_data(self, data):
        if not self.hidden and data.strip():
            self.words.append(" ".join(data.split()))

    def text(self):
        return "\n".join(self.words)


@dataclass
class Person:
    """What the one at the keyboard does."""

    login: str
    password: str
    deny: bool = False
    clicks: int = 0  # how many of our own one-button pages to click through
    signed_in: bool = False

    def fill(self, forms):
        """The form to send and its values, or None when there is nothing more to do on this page."""
        posts = [form for form in forms if form.is_post]
        if len(posts) != 1:
            return None
        form = posts[0]
        actions = [value for name, value in form.buttons if name == "action"]
        if {"login", "password"} <= form.inputs:
            if self.signed_in:
                return None  # the password was refused
            self.signed_in = True
            return form, {**form.fields, "login": self.login, "password": self.password, "action": "login"}
        if "consent" in actions:
            return form, {**form.fields, "action": "deny" if self.deny else "consent"}
        if self.clicks > 0:
            self.clicks -= 1
            pressed = [(name, value) for name, value in form.buttons[:1] if name]
            return form, {**form.fields, **dict(pressed)}
        return None


def walk(browser, url, person):
    """Opens URL and goes on until there is nothing more to fill in."""
    page = browser.open(url)
    while filled := person.fill(PageReader(page.html).forms):
        form, values = filled
        page = browser.open(urllib.parse.urljoin(page.url, form.action), values, page.url)
    return page


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--login", default="alice@example.test", help="who signs in (default %(default)s)")
    parser.add_argument("--password", help="default: the stack's own, pw- and the local part")
    parser.add_argument("--password-file")
    parser.add_argument("--deny", action="store_true", help="press Deny on the consent page")
    parser.add_argument("--click", nargs="?", type=int, const=1, default=0, metavar="N", help="press the button of up to N (1) pages of our own")
    parser.add_argument("--jar", metavar="FILE", help="cookies, kept over several runs")
    parser.add_argument("--stop-at", metavar="PREFIX", help="do not visit a redirect target that starts so; end there")
    parser.add_argument("--cafile", help="whom to trust for https")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    password = arguments.password or "pw-" + arguments.login.split("@")[0]
    if arguments.password_file:
        with open(arguments.password_file, encoding="utf-8") as file:
            password = file.read().strip()
    browser = Browser(arguments.jar, arguments.cafile, arguments.stop_at)
    try:
        page = walk(browser, arguments.url, Person(arguments.login, password, arguments.deny, arguments.click))
    except Stuck as stuck:
        print(json.dumps({"error": str(stuck), "hops": browser.hops}) if arguments.json else f"stuck: {stuck}")
        return 1
    finally:
        browser.save()
    text = PageReader(page.html).text()
    if arguments.json:
        print(json.dumps({**asdict(page), "text": text, "hops": browser.hops, "cookies": browser.cookies()}))
    else:
        print(f"{page.url}\n{page.status or 'not visited'}\n{text}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
