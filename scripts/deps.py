#!/usr/bin/env python3
"""The part of cargo-deny that `make check` needs, for machines without it.

Reads deny.toml and `cargo metadata`; understands `licenses.allow` and `.exceptions`, `bans.deny` (with
`deny-multiple-versions`) and `sources`. Knows licences by their manifest only, where cargo-deny reads the texts too.
Exit 1 with one line per finding.
"""
import json
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("scripts/deps.py needs Python 3.11")

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


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


def main():
    with open("deny.toml", "rb") as file:
        policy = tomllib.load(file)
    told = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"], capture_output=True, text=True
    )
    if told.returncode != 0:
        sys.exit(told.stderr)
    packages = json.loads(told.stdout)["packages"]
    theirs = [package for package in packages if package["source"]]
    findings = []

    allowed = set(policy["licenses"]["allow"])
    exceptions = {e["crate"]: set(e["allow"]) for e in policy["licenses"].get("exceptions", [])}
    for package in theirs:
        licence = package["license"] or "none"
        if not permitted(licence, allowed | exceptions.get(package["name"], set())):
            findings.append(f"{package['name']} {package['version']}: licence {licence} is not in deny.toml")
        if package["source"] != REGISTRY:
            findings.append(f"{package['name']} comes from {package['source']}, not from crates.io")

    for rule in policy["bans"]["deny"]:
        versions = sorted(package["version"] for package in packages if package["name"] == rule["crate"])
        if rule.get("deny-multiple-versions"):
            if len(versions) > 1:
                findings.append(f"{rule['crate']} is there {len(versions)} times: {', '.join(versions)}")
        elif versions:
            findings.append(f"{rule['crate']} is banned: {rule['reason']} (see `cargo tree -i {rule['crate']}`)")

    print("\n".join(findings) or f"{len(theirs)} crates of others keep deny.toml")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
