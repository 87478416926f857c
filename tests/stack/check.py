#!/usr/bin/env python3
"""An ordinary mail client with a password, for the end-to-end tests: check.py imap|smtp --host H --port P ...

imap: logs in, lists the folders, selects one, fetches all headers, searches.
smtp: logs in and submits one message.

Exit: 0 done; 1 refused, the server's line is printed; 2 no connection (or it broke, or TLS failed);
3 logged in, but the expected message is not there.
"""
import argparse
import base64
import email
import email.policy
import email.utils
import imaplib
import json
import re
import smtplib
import ssl
import sys
import time
from email.message import EmailMessage


BODY_SHOWN = 65536  # bytes


class Refused(Exception):
    """The server said no; the text is its line."""


class NotThere(Exception):
    """The expected message did not come."""


# ---------------------------------------------------------------- IMAP

def imap_connect(arguments):
    where = {"host": arguments.host, "port": arguments.port, "timeout": arguments.timeout}
    if arguments.tls == "tls":
        return imaplib.IMAP4_SSL(**where, ssl_context=tls_context(arguments))
    client = imaplib.IMAP4(**where)
    if arguments.tls == "starttls":
        client.starttls(tls_context(arguments))
    return client


def imap_exchange(client, line, *continuations):
    """A command word by word, for the forms that imaplib does not send: each continuation answers one '+'."""
    tag = b"check1"
    client.send(tag + b" " + line + b"\r\n")
    waiting = list(continuations)
    while True:
        answer = client.readline().rstrip(b"\r\n")
        if answer.startswith(b"* BYE"):
            raise Refused(text_of(answer))
        if not answer:
            raise ConnectionError("the server closed the connection")
        if answer.startswith(b"+") and waiting:
            client.send(waiting.pop(0) + b"\r\n")
        elif answer.startswith(tag + b" "):
            break
    answer = answer[len(tag) + 1:].decode(errors="replace")
    if not answer.startswith("OK"):
        raise Refused(answer)
    client.state = "AUTH"


def imap_login(client, arguments, password):
    user, secret = arguments.user.encode(), password.encode()
    plain = base64.b64encode(b"\0" + user + b"\0" + secret)
    if arguments.literal_login == "sync":
        imap_exchange(client, b"LOGIN {%d}" % len(user), user + b" {%d}" % len(secret), secret)
    elif arguments.literal_login == "plus":  # RFC 7888: does not wait
        imap_exchange(client, b"LOGIN {%d+}\r\n%s {%d+}\r\n%s" % (len(user), user, len(secret), secret))
    elif arguments.auth_plain == "initial":  # RFC 4959
        imap_exchange(client, b"AUTHENTICATE PLAIN " + plain)
    elif arguments.auth_plain == "later":
        imap_exchange(client, b"AUTHENTICATE PLAIN", plain)
    else:
        client.login(arguments.user, password)


def imap_headers(client, folder):
    count = int(good(client.select(f'"{folder}"', readonly=True))[0])
    if count == 0:
        return []
    messages = []
    for part in good(client.fetch("1:*", "(UID RFC822.SIZE BODY.PEEK[HEADER])")):
        if not isinstance(part, tuple):
            continue
        info, header = part
        message = {"uid": int(re.search(rb"UID (\d+)", info)[1]), "size": int(re.search(rb"RFC822\.SIZE (\d+)", info)[1])}
        parsed = email.message_from_bytes(header, policy=email.policy.default)
        messages.append(message | {name: str(parsed[name] or "") for name in ("subject", "from", "to", "message-id")})
    if len(messages) != count:
        raise NotThere(f"{count} messages announced, {len(messages)} fetched")
    return messages


def imap_search(client, subject):
    return [int(uid) for uid in good(client.uid("SEARCH", "SUBJECT", f'"{subject}"'))[0].split()]


def imap_wait_for(client, subject, seconds):
    """Mail takes its time: looks again until the message is there."""
    give_up = time.monotonic() + seconds
    while not (found := imap_search(client, subject)):
        if time.monotonic() > give_up:
            raise NotThere(f"no message with the subject {subject!r}")
        time.sleep(0.1)
        good(client.noop())
    return found


def imap_body(client, uid):
    parts = good(client.uid("FETCH", str(uid), f"(BODY.PEEK[TEXT]<0.{BODY_SHOWN}>)"))
    return next(part[1] for part in parts if isinstance(part, tuple)).decode(errors="replace")


def good(answer):
    status, lines = answer
    if status != "OK":
        raise Refused(f"{status} {text_of(lines[-1])}")
    return lines


def text_of(line):
    return line.decode(errors="replace") if isinstance(line, bytes) else str(line)


def imap(arguments, password):
    client = None
    try:
        client = imap_connect(arguments)
        imap_login(client, arguments, password)
        folders = [text_of(line) for line in good(client.list())]
        messages = imap_headers(client, arguments.folder)
        result = {"capabilities": text_of(good(client.capability())[0]).split(), "folders": folders, "messages": messages}
        if arguments.expect_subject:
            result["found"] = imap_wait_for(client, arguments.expect_subject, arguments.wait)
            result["body"] = imap_body(client, result["found"][-1])
            result["messages"] = imap_headers(client, arguments.folder)
        client.logout()
    except imaplib.IMAP4.abort as error:
        if client and client.untagged_responses.get("BYE"):
            raise Refused(f"* BYE {error}") from error
        raise ConnectionError(str(error)) from error
    except imaplib.IMAP4.error as error:  # imaplib keeps the text and drops the word before it
        words = text_of(error.args[0])
        whole = client is None or "command error" in words
        raise Refused(words if whole else f"NO {words}") from error
    return result


# ---------------------------------------------------------------- SMTP

def smtp_connect(arguments):
    where = {"host": arguments.host, "port": arguments.port, "timeout": arguments.timeout, "local_hostname": "check.example.test"}
    if arguments.tls == "tls":
        return smtplib.SMTP_SSL(**where, context=tls_context(arguments))
    client = smtplib.SMTP(**where)
    if arguments.tls == "starttls":
        client.starttls(context=tls_context(arguments))
    return client


def smtp_login(client, arguments, password):
    initial = not arguments.no_initial_response
    if arguments.auth is None:
        client.login(arguments.user, password, initial_response_ok=initial)
        return
    client.ehlo_or_helo_if_needed()
    client.user, client.password = arguments.user, password
    says = {"plain": client.auth_plain, "login": client.auth_login}[arguments.auth]
    client.auth(arguments.auth.upper(), says, initial_response_ok=initial)


def letter(arguments):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = arguments.sender, ", ".join(arguments.to), arguments.subject
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain="check.example.test")
    message.set_content(arguments.body)
    return message


def smtp(arguments, password):
    try:
        with smtp_connect(arguments) as client:
            smtp_login(client, arguments, password)
            refused = client.send_message(letter(arguments), arguments.sender, arguments.to)
            return {"extensions": client.esmtp_features, "refused": {to: smtp_line(*line) for to, line in refused.items()}}
    except smtplib.SMTPResponseException as error:
        raise Refused(smtp_line(error.smtp_code, error.smtp_error)) from error
    except smtplib.SMTPRecipientsRefused as error:
        raise Refused(smtp_line(*list(error.recipients.values())[-1])) from error
    except smtplib.SMTPNotSupportedError as error:
        raise Refused(str(error)) from error
    except smtplib.SMTPException as error:
        raise ConnectionError(str(error)) from error


def smtp_line(code, text):
    return f"{code} {text_of(text)}"


# ---------------------------------------------------------------- both

def tls_context(arguments):
    return ssl.create_default_context(cafile=arguments.cafile)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--host", default="localhost")
    both.add_argument("--port", type=int, required=True)
    both.add_argument("--tls", choices=("plain", "starttls", "tls"), default="tls")
    both.add_argument("--cafile", help="whom to trust")
    both.add_argument("--user", required=True)
    both.add_argument("--password-file", required=True)
    both.add_argument("--timeout", type=float, default=30, help="seconds per answer")
    both.add_argument("--json", action="store_true")

    reads = kinds.add_parser("imap", parents=[both])
    reads.add_argument("--folder", default="INBOX")
    reads.add_argument("--expect-subject", metavar="TEXT", help="wait for a message with TEXT in its subject, show its body")
    reads.add_argument("--wait", type=float, default=10, help="for so many seconds")
    how = reads.add_mutually_exclusive_group()
    how.add_argument("--literal-login", nargs="?", const="sync", choices=("sync", "plus"), help="LOGIN with literals {n} or {n+}")
    how.add_argument("--auth-plain", nargs="?", const="later", choices=("later", "initial"), help="AUTHENTICATE PLAIN, with an initial response or without")

    sends = kinds.add_parser("smtp", parents=[both])
    sends.add_argument("--from", dest="sender", required=True)
    sends.add_argument("--to", nargs="+", required=True)
    sends.add_argument("--subject", default="check")
    sends.add_argument("--body", default="hello")
    sends.add_argument("--auth", choices=("plain", "login"), help="default: what smtplib picks")
    sends.add_argument("--no-initial-response", action="store_true", help="AUTH alone, the response after 334")
    return parser.parse_args()


def report(arguments, result):
    if arguments.json:
        print(json.dumps(result))
    elif "error" in result:
        print(result["error"])
    elif arguments.kind == "imap":
        print(f"{len(result['folders'])} folders, {len(result['messages'])} messages in {arguments.folder}")
        for message in result["messages"]:
            print(f"{message['uid']:6} {message['from']}: {message['subject']}")
        print(result.get("body", ""), end="")
    else:
        print(f"sent to {', '.join(arguments.to)}")


def main():
    arguments = parse_arguments()
    with open(arguments.password_file, encoding="utf-8") as file:
        password = file.read().rstrip("\r\n")
    try:
        result, code = {"imap": imap, "smtp": smtp}[arguments.kind](arguments, password), 0
    except Refused as error:
        result, code = {"error": str(error)}, 1
    except OSError as error:  # also TLS and time-outs
        result, code = {"error": f"{type(error).__name__}: {error}"}, 2
    except NotThere as error:
        result, code = {"error": str(error)}, 3
    report(arguments, result)
    return code


if __name__ == "__main__":
    sys.exit(main())
