#!/usr/bin/env python3
"""selftest.py: what the tests rely on, asked of the running stack itself. Also shows how to drive each flow.

Takes the endpoints from $STACK_DATA/env (or the default place for STACK_BASE). Exit: 0 all ok.
"""
import base64
import hashlib
import html
import imaplib
import json
import os
import re
import secrets
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from consent import Browser, Person, walk  # noqa: E402

DATA = os.environ.get("STACK_DATA") or os.path.join(os.environ.get("TMPDIR", "/tmp"), "stack-" + os.environ.get("STACK_BASE", "21000"))
with open(DATA + "/env", encoding="utf-8") as endpoints:
    STACK = dict(line.strip().split("=", 1) for line in endpoints if "=" in line)
OAUTH, SECRET, SCOPE, WEB = (STACK["STACK_" + name] for name in ("OAUTH", "CLIENT_SECRET", "MAIL_SCOPE", "WEB_REDIRECT"))
TLS = ssl.create_default_context(cafile=STACK["STACK_CA"])
FULL_SCOPE = f"openid offline_access email {SCOPE}"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ALICE = "alice@example.test"

checks = []


def check(name):
    """Marks a check. It passes when it returns None or something true."""
    def add(function):
        checks.append((name, function))
        return function
    return add


# ---------------------------------------------------------------- HTTP and OAuth

def fetch(url, form=None, client=None, timeout=10):
    """(status, headers, parsed JSON). `client` is (id, secret) for HTTP Basic, `form` a dict or bytes."""
    headers = {}
    if client:
        encoded = ":".join(urllib.parse.quote(part, safe="") for part in client)
        headers["Authorization"] = "Basic " + base64.b64encode(encoded.encode()).decode()
    body = urllib.parse.urlencode(form).encode() if isinstance(form, dict) else form
    request = urllib.request.Request(url, body, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout, context=TLS if url.startswith("https") else None)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read().decode()
        return answer.status, answer.headers, json.loads(text) if text.startswith(("{", "[")) else text


def admin(hook, **body):
    status, _, answer = fetch(f"{OAUTH}/admin/{hook}", json.dumps(body).encode())
    assert status == 200, answer
    return answer


def stats():
    return fetch(OAUTH + "/admin/stats")[2]


def mint(login=ALICE, **more):
    return admin("mint", login=login, **more)


def token_request(client=("web-basic", SECRET), **form):
    return fetch(OAUTH + "/token", form, client)


def refresh(refresh_token):
    status, _, answer = token_request(grant_type="refresh_token", refresh_token=refresh_token)
    return status, answer


def client_credentials(timeout=10):
    return fetch(OAUTH + "/token", {"grant_type": "client_credentials", "scope": SCOPE}, ("svc-cc", SECRET), timeout)


def introspect(token):
    return fetch(OAUTH + "/token/introspection", {"token": token}, ("dovecot", SECRET))[2]


def authorize(client_id, redirect, scope=FULL_SCOPE, deny=False, **more):
    """Signs in and consents; (the callback's parameters, the PKCE verifier, the nonce)."""
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {"client_id": client_id, "response_type": "code", "redirect_uri": redirect, "scope": scope, "prompt": "consent", "state": state,
             "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256", **more}
    page = walk(Browser(stop_at=redirect), f"{OAUTH}/auth?{urllib.parse.urlencode(query)}", Person(ALICE, "pw-alice", deny))
    assert page.url.startswith(redirect + "?"), (page.status, page.url, page.html[:300])
    callback = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.url).query))
    assert callback["state"] == state and callback["iss"] == OAUTH, callback  # RFC 9207
    return callback, verifier, nonce


def code_flow(client_id, redirect, secret=None, in_body=False, scope=FULL_SCOPE):
    callback, verifier, nonce = authorize(client_id, redirect, scope)
    form = {"grant_type": "authorization_code", "code": callback["code"], "redirect_uri": redirect, "code_verifier": verifier}
    basic = (client_id, secret) if secret and not in_body else None
    if not basic:
        form["client_id"] = client_id
    if in_body:
        form["client_secret"] = secret
    status, _, tokens = token_request(basic, **form)
    assert status == 200, tokens
    payload = tokens["id_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (OAUTH, client_id, nonce), claims
    return tokens


@check("discovery names every endpoint, S256 and RFC 9207")
def _():
    found = fetch(OAUTH + "/.well-known/openid-configuration")[2]
    endpoints = ("authorization", "token", "introspection", "revocation", "device_authorization", "userinfo")
    assert all(found[name + "_endpoint"].startswith(OAUTH) for name in endpoints), found
    assert found["issuer"] == OAUTH and found["code_challenge_methods_supported"] == ["S256"]
    return found["authorization_response_iss_parameter_supported"] and fetch(found["jwks_uri"])[2]["keys"]


@check("the TLS listener answers too")
def _():
    return fetch(STACK["STACK_OAUTH_TLS"] + "/.well-known/openid-configuration")[2]["token_endpoint"].startswith("https://")


@check("web-basic: code, PKCE, iss, nonce, refresh token; any loopback port below /oauth/callback")
def _():
    for host in ("127.0.0.1", "localhost"):
        for path in ("/oauth/callback", "/oauth/callback/default/my-app", "/callback", "/"):
            assert code_flow("web-basic", f"http://{host}:{secrets.randbelow(20000) + 30000}{path}", SECRET)["refresh_token"]


@check("web-basic: no other redirect URI, and none after the code was given")
def _():
    for redirect in ("http://evil.test/oauth/callback/x", "http://127.0.0.1:9/other", "http://127.0.0.1.evil.test:9/", "http://127.0.0.1:9/oauth/callback/x?y=1"):
        query = {"client_id": "web-basic", "response_type": "code", "scope": "openid", "redirect_uri": redirect}
        page = Browser().open(f"{OAUTH}/auth?{urllib.parse.urlencode(query)}")
        assert page.status == 400 and "redirect_uri" in page.html, (redirect, page)
    callback, verifier, _ = authorize("web-basic", WEB)
    status, _, answer = token_request(grant_type="authorization_code", code=callback["code"], redirect_uri=WEB + "2", code_verifier=verifier)
    return (status, answer["error"]) == (400, "invalid_grant")


@check("a wrong PKCE verifier gets invalid_grant")
def _():
    callback, _, _ = authorize("web-basic", WEB)
    answer = token_request(grant_type="authorization_code", code=callback["code"], redirect_uri=WEB, code_verifier="x" * 64)[2]
    return answer["error"] == "invalid_grant"


@check("web-post: the secret in the body")
def _():
    return code_flow("web-post", WEB, SECRET, in_body=True)["refresh_token"]


@check("native-public: no secret, any loopback port")
def _():
    return code_flow("native-public", f"http://localhost:{secrets.randbelow(20000) + 30000}/")["refresh_token"]


@check("web:odd id: id and secret that Basic must encode")
def _():
    return code_flow("web:odd id", WEB, "p%ss w+rd:&=/0123456789-odd-secret")["refresh_token"]


@check("a denied consent is access_denied, a wrong password no sign-in")
def _():
    assert authorize("web-basic", WEB, deny=True)[0]["error"] == "access_denied"
    query = {"client_id": "web-basic", "response_type": "code", "redirect_uri": WEB, "scope": "openid"}
    return walk(Browser(stop_at=WEB), f"{OAUTH}/auth?{urllib.parse.urlencode(query)}", Person(ALICE, "wrong")).status == 401


@check("no offline_access, no refresh token")
def _():
    return "refresh_token" not in code_flow("web-basic", WEB, SECRET, scope=f"openid {SCOPE}")


@check("rotation: a reused refresh token kills the whole family, and is counted")
def _():
    admin("stats/reset")
    first = mint()["refresh_token"]
    status, second = refresh(first)
    assert status == 200 and second["refresh_token"] != first
    assert refresh(first)[1]["error"] == "invalid_grant"
    assert refresh(second["refresh_token"])[1]["error"] == "invalid_grant"
    counted = stats()
    return counted["refresh_reuse_presented"] == counted["refresh_reuse_rejected"] == 1


@check("rotation off: the refresh token stays")
def _():
    admin("config", rotate=False)
    token = mint()["refresh_token"]
    (one, answer), (two, _) = refresh(token), refresh(token)
    admin("config", rotate=True)
    return (one, two) == (200, 200) and answer["refresh_token"] == token


@check("rotation with a grace time")
def _():
    admin("config", rotate_grace=2)
    token = mint()["refresh_token"]
    within = [refresh(token)[0], refresh(token)[0]]
    time.sleep(2.2)
    after = refresh(token)[0]
    admin("config", rotate_grace=0)
    return (within, after) == ([200, 200], 400)


@check("client credentials")
def _():
    return client_credentials()[2]["access_token"]


def device_start():
    code = fetch(OAUTH + "/device/auth", {"client_id": "device-public", "scope": FULL_SCOPE})[2]
    return code, lambda: fetch(OAUTH + "/token", {"client_id": "device-public", "grant_type": DEVICE_GRANT, "device_code": code["device_code"]})[2]


@check("device flow through the pages")
def _():
    code, poll = device_start()
    assert poll()["error"] == "authorization_pending"
    browser = Browser()
    page = browser.open(code["verification_uri_complete"])
    while "/interaction/" not in page.url:
        fields = {name: html.unescape(value) for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.html)}
        if 'name="abort"' in page.html:
            fields["confirm"] = "yes"
        page = browser.open(OAUTH + "/device", fields)
    page = browser.open(page.url, {"action": "login", "login": ALICE, "password": "pw-alice"})
    page = browser.open(page.url, {"action": "consent"})
    assert "success" in page.html.lower(), page.html
    return poll()["refresh_token"]


@check("device flow, approved by the hook")
def _():
    code, poll = device_start()
    admin("device/approve", user_code=code["user_code"], login=ALICE)
    return poll()["refresh_token"]


@check("introspection and revocation")
def _():
    token = mint()["access_token"]
    assert introspect(token)["email"] == ALICE
    assert fetch(OAUTH + "/token/revocation", {"token": token}, ("web-basic", SECRET))[0] == 200
    return introspect(token)["active"] is False


@check("access tokens expire on the second")
def _():
    token = mint(access_ttl=1)["access_token"]
    time.sleep(2.1)
    return introspect(token)["active"] is False


@check("the hooks revoke tokens and switch accounts off")
def _():
    login = f"user-{secrets.token_hex(4)}@example.test"
    tokens = mint(login)
    assert admin("revoke", login=login, kinds=["refresh"]) == {"refresh": 1}
    assert refresh(tokens["refresh_token"])[1]["error"] == "invalid_grant"
    tokens = mint(login)
    admin("users", login=login, active=False)
    error = refresh(tokens["refresh_token"])[1]["error"]
    admin("users", login=login, active=True)
    return error == "invalid_grant"


def breaks(call):
    try:
        call()
    except OSError:
        return True
    return False


@check("faults: status, Retry-After, OAuth errors, delay")
def _():
    admin("fault", times=2, status=503, retry_after=7)
    first, second, third = client_credentials(), client_credentials(), client_credentials()
    assert (first[0], second[0], third[0]) == (503, 503, 200) and first[1]["Retry-After"] == "7"
    admin("fault", status=429, skip=1)
    assert [client_credentials()[0], client_credentials()[0]] == [200, 429]
    admin("fault", error="invalid_client")
    assert client_credentials()[0] == 401
    admin("fault", delay_ms=400)
    began = time.monotonic()
    return client_credentials()[0] == 200 and time.monotonic() - began >= 0.4


@check("faults: drop, reset, hang, half a body, HTML, too much")
def _():
    for kind in ("drop", "reset", "hang"):
        admin("fault", kind=kind)
        assert breaks(lambda: client_credentials(timeout=1)), kind
    admin("fault", kind="garbage")
    assert "captive portal" in client_credentials()[2]
    admin("fault", kind="huge", bytes=1 << 20)
    assert len(client_credentials()[2]["access_token"]) >= 1 << 20
    admin("fault", kind="truncate")
    try:
        client_credentials()
    except Exception as error:  # http.client.IncompleteRead
        return "IncompleteRead" in repr(error)


@check("faults: a lost answer has rotated the token all the same")
def _():
    token = mint()["refresh_token"]
    admin("fault", kind="lost", grant_type="refresh_token")
    assert breaks(lambda: refresh(token))
    return refresh(token)[0] == 400 and stats()["faults_fired"] >= 1


@check("expires_in left out or sent as a string")
def _():
    answers = []
    for claim in ("omit", "string", 7):
        admin("config", expires_in=claim)
        answers.append(client_credentials()[2].get("expires_in"))
    admin("config", expires_in="real")
    return answers == [None, "3600", 7]


@check("concurrent refreshes of one token are counted")
def _():
    admin("stats/reset")
    token = mint()["refresh_token"]
    admin("config", token_delay_ms=200)
    threads = [threading.Thread(target=refresh, args=(token,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    admin("config", token_delay_ms=0)
    return stats()["refresh_max_concurrent_per_token"] == 4


# ---------------------------------------------------------------- mail

def address(name):
    host, port = STACK["STACK_" + name].split(":")
    return {"host": host, "port": int(port)}


def sasl(mechanism, user, token):
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {token}\1\1".encode()
    return f"n,a={user},\1host=localhost\1port=993\1auth=Bearer {token}\1\1".encode()


def imap(user, token, mechanism="XOAUTH2", starttls=False):
    client = imaplib.IMAP4(**address("IMAP")) if starttls else imaplib.IMAP4_SSL(**address("IMAPS"), ssl_context=TLS)
    if starttls:
        client.starttls(TLS)
    challenges = []

    def answer(challenge):
        challenges.append(challenge.decode())
        if len(challenges) == 1:
            return sasl(mechanism, user, token)
        return b"" if mechanism == "XOAUTH2" else b"\1"  # acknowledges the error that the challenge carries
    try:
        client.authenticate(mechanism, answer)
    except imaplib.IMAP4.error as error:
        client.shutdown()
        raise PermissionError(f"{error} {challenges[1:]}") from error
    return client


def refused(user, token, *words):
    try:
        imap(user, token)
    except PermissionError as error:
        assert all(word in str(error) for word in words), error
        return True
    return False


for form in ("opaque", "jwt"):
    for sasl_name in ("XOAUTH2", "OAUTHBEARER"):
        check(f"IMAP: {sasl_name}, {form} token")(lambda form=form, name=sasl_name: imap(ALICE, mint(format=form)["access_token"], name).select()[0] == "OK")


@check("IMAP: STARTTLS")
def _():
    return imap(ALICE, mint()["access_token"], starttls=True).noop()[0] == "OK"


@check("IMAP: a token without a user logs in to its mailbox")
def _():
    return imap("shared@example.test", client_credentials()[2]["access_token"]).noop()[0] == "OK"


@check("IMAP refuses another user's, an expired, an unknown and a scopeless token")
def _():
    no = "AUTHENTICATIONFAILED"
    assert refused("bob@example.test", mint()["access_token"], no, '"status":"401"')
    assert refused(ALICE, mint(access_ttl=-5)["access_token"], no)
    assert refused(ALICE, "x" * 43, no)
    return refused(ALICE, mint(scope="openid email")["access_token"], no)


@check("IMAP refuses an expired JWT")
def _():
    token = mint(format="jwt", access_ttl=1)["access_token"]
    time.sleep(2.1)
    return refused(ALICE, token, "AUTHENTICATIONFAILED")


@check("IMAP answers UNAVAILABLE while introspection fails")
def _():
    admin("fault", endpoint="introspection", times=-1, status=500)
    try:
        return refused(ALICE, mint()["access_token"], "UNAVAILABLE")
    finally:
        admin("faults/clear")


@check("no password logs in anywhere")
def _():
    client = imaplib.IMAP4_SSL(**address("IMAPS"), ssl_context=TLS)
    assert "AUTH=PLAIN" not in client.capabilities
    try:
        client.login(ALICE, "pw-alice")
    except imaplib.IMAP4.error:
        return True
    return False


def send(server, mechanism, token, subject):
    if server.endswith("S"):
        client = smtplib.SMTP_SSL(**address(server), context=TLS, local_hostname="selftest.example.test")
    else:
        client = smtplib.SMTP(**address(server), local_hostname="selftest.example.test")
        client.starttls(context=TLS)
    with client:
        client.ehlo()
        # Never as initial response: a long token does not fit into one line.
        code, text = client.docmd("AUTH", mechanism)
        assert code == 334, (code, text)
        code, text = client.docmd(base64.b64encode(sasl(mechanism, ALICE, token)).decode())
        assert code == 235, (code, text)
        client.sendmail(ALICE, [ALICE], f"From: <{ALICE}>\r\nTo: <{ALICE}>\r\nSubject: {subject}\r\n\r\nhello\r\n")


def arrives(subject):
    client = imap(ALICE, mint()["access_token"])
    for _ in range(100):
        client.select()
        if client.search(None, "SUBJECT", f'"{subject}"')[1][0]:
            client.logout()
            return True
        time.sleep(0.1)
    return False


def submission(server, mechanism, form):
    def run():
        subject = "selftest " + secrets.token_hex(6)
        send(server, mechanism, mint(format=form)["access_token"], subject)
        return arrives(subject)
    return run


if "STACK_SUBMISSION" in STACK:
    for server_name, sasl_name, form in (
        ("SUBMISSION", "XOAUTH2", "opaque"), ("SUBMISSION", "OAUTHBEARER", "jwt"), ("SUBMISSIONS", "XOAUTH2", "jwt"),
        ("SUBMISSIONS", "OAUTHBEARER", "opaque"), ("DSUBMISSION", "XOAUTH2", "opaque"), ("DSUBMISSIONS", "OAUTHBEARER", "jwt"),
    ):
        check(f"{server_name}: {sasl_name}, {form} token: sent and read back")(submission(server_name, sasl_name, form))

    @check("Postfix relays nothing without a login, and offers none before STARTTLS")
    def _():
        with smtplib.SMTP_SSL(**address("SUBMISSIONS"), context=TLS) as client:
            client.ehlo()
            client.mail(ALICE)
            assert client.rcpt(ALICE)[0] >= 500
        with smtplib.SMTP(**address("SUBMISSION")) as client:
            client.ehlo()
            return "auth" not in client.esmtp_features


@check("check.py: a refused login is exit 1 and the server's line")
def _():
    password = os.path.join(DATA, "selftest.password")
    with open(password, "w", encoding="utf-8") as file:
        file.write("pw-alice")
    where = ["--port", str(address("IMAPS")["port"]), "--cafile", STACK["STACK_CA"], "--user", ALICE, "--password-file", password]
    done = subprocess.run([sys.executable, os.path.join(HERE, "check.py"), "imap", *where], capture_output=True, text=True, check=False)
    os.remove(password)
    return done.returncode == 1 and done.stdout.startswith(("NO ", "BAD "))


def main():
    passed = 0
    admin("reset")
    for name, function in checks:
        began = time.monotonic()
        try:
            answer = function()
            failure = None if answer is None or answer else f"returned {answer!r}"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        passed += failure is None
        print(f"{'FAIL' if failure else 'ok  '} {name} ({(time.monotonic() - began) * 1000:.0f} ms) {failure or ''}".rstrip(), flush=True)
    admin("reset")
    print(f"{passed} passed, {len(checks) - passed} failed")
    return 0 if passed == len(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
