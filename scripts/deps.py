#!/usr/bin/env python3
"""The part of cargo-deny that `make check` needs, for machines without it.

Reads deny.toml and `cargo tree`; understands `licenses.allow` and `.exceptions`, `bans.deny` (with
`deny-multiple-versions`) and the sources. Knows licences by their manifest only, where cargo-deny reads the texts too.
    deps.py [DENY.TOML]      exit 1 with one line per finding
"""
import os
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("scripts/deps.py needs Python 3.11")


def permitted(expression, allowed):
    """Whether an SPDX expression can be met with `allowed`: the words become True or False, `and` and `or` do the rest."""
    words = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    terms, logic = [], []
    for word in words + ["or"]:
        if word in ("(", ")") or word.upper() in ("AND", "OR") or word == "/":
            if terms:
                logic.append(str(" ".join(terms) in allowed))
                terms = []
            logic.append({"/": "or"}.get(word, word.lower()))
        else:
            terms.append(word)
    return eval(" ".join(logic[:-1]))  # only True, False, and, or, parentheses


def packages():
    """(name, version, licence, origin) of each crate in the tree, on every platform; the lock also holds some that nobody asks for."""
    command = "cargo tree --workspace --locked --all-features --target all --edges all --prefix none --format".split()
    told = subprocess.run(command + ["{p}|{l}"], capture_output=True, text=True)
    if told.returncode != 0:
        sys.exit(told.stderr)
    found = set()
    for line in told.stdout.splitlines():
        package, _, licence = line.removesuffix(" (*)").partition("|")
        words = package.split()
        if len(words) >= 2 and words[1].startswith("v"):
            origin = " ".join(words[2:]).replace("(proc-macro)", "").strip(" ()")
            found.add((words[0], words[1], licence, origin))
    return sorted(found)


def main():
    with open(sys.argv[1] if len(sys.argv) > 1 else "deny.toml", "rb") as file:
        policy = tomllib.load(file)
    tree = packages()
    here = os.getcwd()
    theirs = [package for package in tree if not package[3].startswith(here)]
    findings = []

    allowed = set(policy["licenses"]["allow"])
    exceptions = {e["crate"]: set(e["allow"]) for e in policy["licenses"].get("exceptions", [])}
    for name, version, licence, origin in theirs:
        if not permitted(licence or "none", allowed | exceptions.get(name, set())):
            findings.append(f"{name} {version}: licence {licence or 'none'} is not in deny.toml")
        if origin:
            findings.append(f"{name} {version} comes from {origin}, not from crates.io")

    for rule in policy["bans"]["deny"]:
        versions = [version for name, version, *_ in tree if name == rule["crate"]]
        if rule.get("deny-multiple-versions"):
            if len(versions) > 1:
                findings.append(f"{rule['crate']} is there {len(versions)} times: {', '.join(versions)}")
        elif versions:
            findings.append(f"{rule['crate']} is banned: {rule['reason']} (see `cargo tree -i {rule['crate']}`)")

    print("\n".join(findings) or f"{len(theirs)} crates of others keep deny.toml")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
