"""Checks the DKIM signatures of mails with dkimpy.

Its input is a JSON object: "mails"; "name" and "value", the only record in DNS. It prints a list in JSON, of whether each
is right.
"""

import json
import sys

import dkim

asked = json.load(sys.stdin)


def txt(name, timeout=5):
    # It is asked for with the dot of the root.
    return asked["value"].encode() if name == asked["name"].encode() + b"." else None


def is_right(mail):
    try:
        return dkim.DKIM(mail.encode("ascii"), minkey=2048).verify(dnsfunc=txt)
    except dkim.DKIMException:
        return False


print(json.dumps([is_right(mail) for mail in asked["mails"]]))
