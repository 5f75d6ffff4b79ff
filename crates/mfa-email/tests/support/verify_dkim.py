"""Checks the DKIM signatures of mails with dkimpy.

Its input is a JSON list of objects: "mails"; "name" and "value", the only record in DNS. It prints a JSON list of lists,
of whether each mail is right.
"""

import json
import sys

import dkim


def is_right(mail, record):
    def txt(name, timeout=5):
        # It is asked for with the dot of the root.
        return record["value"].encode() if name == record["name"].encode() + b"." else None

    try:
        return dkim.DKIM(mail.encode("ascii"), minkey=2048).verify(dnsfunc=txt)
    except dkim.DKIMException:
        return False


print(json.dumps([[is_right(mail, check) for mail in check["mails"]] for check in json.load(sys.stdin)]))
