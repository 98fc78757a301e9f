"""Reads a report (RFC 3464) from standard input with Python's own mail parser; prints what it says as JSON."""

import email
import email.policy
import json
import sys

data = sys.stdin.buffer.read()
# Its parser of bytes takes no raw UTF-8 in headers (RFC 6532); that of text does.
message = email.message_from_string(data.decode(), policy=email.policy.default) if "--utf8" in sys.argv \
    else email.message_from_bytes(data, policy=email.policy.default)
text, status, original = message.iter_parts()
groups = [{name: str(value) for name, value in group.items()} for group in status.get_payload()]
inner = original.get_content()
print(json.dumps({
    "type": message.get_content_type(),
    "report": message["Content-Type"].params.get("report-type"),
    "from": message["From"].addresses[0].addr_spec,
    "to": message["To"].addresses[0].addr_spec,
    "subject": str(message["Subject"]),
    "auto": str(message["Auto-Submitted"]),
    "encoding": message.get("Content-Transfer-Encoding"),
    "parts": [part.get_content_type() for part in (text, status, original)],
    "text": text.get_content(),
    "groups": groups,
    "original": inner if isinstance(inner, str) else {"subject": str(inner["Subject"]), "body": inner.get_content()},
    "defects": [type(defect).__name__ for part in message.walk() for defect in part.defects],
}))
