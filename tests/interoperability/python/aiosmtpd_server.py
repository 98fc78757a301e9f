"""A server of aiosmtpd with STARTTLS that writes what it takes into a folder: N.eml and N.json.

It refuses recipients whose address begins with "unknown" for good, and the first attempt for each that begins with
"full" for now. It ends when its standard input ends.

usage: aiosmtpd_server.py ADDRESS PORT FOLDER CERTIFICATE KEY
"""

import json
import os
import ssl
import sys

from aiosmtpd.controller import Controller

address, port, folder, certificate, key = sys.argv[1:6]


class Handler:
    def __init__(self):
        self.count = 0
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, recipient, options):
        if recipient.startswith("unknown"):
            return "550 5.1.1 nobody of that name"
        if recipient.startswith("full") and recipient not in self.seen:
            self.seen.add(recipient)
            return "452 4.2.2 mailbox full"
        envelope.rcpt_tos.append(recipient)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        name = os.path.join(folder, str(self.count))
        with open(f"{name}.eml", "wb") as file:
            file.write(envelope.original_content)
        with open(f"{name}.part", "w") as file:
            json.dump({"tls": session.ssl["cipher"][1] if session.ssl else None, "hello": session.host_name,
                       "from": envelope.mail_from, "options": envelope.mail_options, "to": envelope.rcpt_tos}, file)
        os.rename(f"{name}.part", f"{name}.json")
        return "250 2.0.0 taken"


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
controller = Controller(Handler(), hostname=address, port=int(port), tls_context=context, enable_SMTPUTF8=True)
controller.start()
sys.stdin.read()
controller.stop()
