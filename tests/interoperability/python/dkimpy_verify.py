"""Verifies each DKIM signature of a message with dkimpy. Prints a JSON list of [selector, algorithm, verdict].

usage: dkimpy_verify.py MESSAGE RECORDS    where RECORDS is what "maildemon dkim record --json" prints
"""

import json
import sys

import dkim

message = open(sys.argv[1], "rb").read()
records = {record["name"]: record["value"].encode() for record in json.load(open(sys.argv[2]))}


def dns(name, timeout=5):
    return records.get(name.decode().rstrip("."))


found = []
for index in range(message.count(b"\r\nDKIM-Signature:")):
    verifier = dkim.DKIM(message)
    try:
        verdict = "pass" if verifier.verify(idx=index, dnsfunc=dns) else "fail"
    except dkim.DKIMException as error:
        verdict = str(error)
    fields = verifier.signature_fields
    found.append([fields.get(b"s", b"").decode(), fields.get(b"a", b"").decode(), verdict])
print(json.dumps(found))
