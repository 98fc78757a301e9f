"""smtplib of Python's standard library. Prints one JSON object with what it saw.

usage: smtplib_client.py SCENE PORT AUTHORITY USER PASSWORD TAG
"""

import json
import smtplib
import ssl
import sys
from email.headerregistry import Address
from email.message import EmailMessage

scene, port, authority, user, password, tag = sys.argv[1:7]
port = int(port)
context = ssl.create_default_context(cafile=authority)
DOTS = ["..", ".", "...", ". .", ".a", "..b", "a.", "", ".", "", ".\t", "a", ".."]


def mx():
    client = smtplib.SMTP("localhost", port, local_hostname="client.remote.test", timeout=20)
    client.starttls(context=context)
    return client


def submissions():
    return smtplib.SMTP_SSL("localhost", port, local_hostname="client.remote.test", timeout=20, context=context)


def letter(sender, to, *lines):
    head = [f"From: <{sender}>", f"To: <{to}>", "Subject: a test", "Date: Sun, 22 Nov 2026 03:04:05 +0000",
            f"Message-ID: <{tag}@client.test>", ""]
    return "".join(f"{line}\r\n" for line in [*head, *lines])


def many():
    """sendmail() to many, some of whom do not exist."""
    known = [f"ann+{tag}{n}@dev.test" for n in range(60)]
    unknown = [f"nobody{n}@dev.test" for n in range(5)]
    mixed = known[:20] + unknown + known[20:]
    with mx() as client:
        refused = client.sendmail("carol@remote.test", mixed, letter("carol@remote.test", known[0], *DOTS))
    return {"refused": {address: [code, text.decode()] for address, (code, text) in refused.items()}}


def nobody():
    """sendmail() to nobody who exists raises SMTPRecipientsRefused, and the session goes on."""
    with mx() as client:
        try:
            client.sendmail("carol@remote.test", ["nobody@dev.test", "noone@dev.test"], letter("carol@remote.test", "x"))
            raised = None
        except smtplib.SMTPRecipientsRefused as error:
            raised = {address: code for address, (code, _) in error.recipients.items()}
        client.sendmail("carol@remote.test", [f"ann+{tag}@dev.test"], letter("carol@remote.test", "x", "after all"))
    return {"raised": raised}


def utf8():
    """An address that only SMTPUTF8 can carry, and headers in UTF-8."""
    message = EmailMessage()
    message["From"] = Address("Jürgen Grün", "jürgen", "remote.test")
    message["To"] = Address("Jürgen Größe", f"jürgen+{tag}", "dev.test")
    message["Subject"] = "Grüße aus Köln"
    message.set_content("Schöne Grüße\n", cte="8bit")
    with mx() as client:
        client.send_message(message)
    return {}


def eightbit():
    """BODY=8BITMIME with Latin-1 and UTF-8 in the body."""
    body = b"From: carol@remote.test\r\nSubject: eight bits\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + \
        bytes(range(128, 256)) + b"\r\n" + "Grüße €\r\n".encode()
    with mx() as client:
        client.sendmail("carol@remote.test", [f"ann+{tag}@dev.test"], body, mail_options=["BODY=8BITMIME"])
    return {}


def login():
    """login() chooses its mechanism, and each one that it has is tried alone."""
    seen = []
    with submissions() as client:
        client.ehlo_or_helo_if_needed()
        offered = client.esmtp_features["auth"].split()
        code, _ = client.login(user, password)
        seen.append(["login", code])
        client.sendmail(user, [f"{tag}@remote.test"], letter(user, f"{tag}@remote.test", "signed in"))
    for mechanism in ("plain", "login"):
        for initial in (True, False):
            with submissions() as client:
                client.ehlo()
                client.user, client.password = user, password
                authenticate = getattr(client, f"auth_{mechanism}")
                seen.append([f"{mechanism} {initial}", client.auth(mechanism, authenticate, initial_response_ok=initial)[0]])
    with submissions() as client:
        try:
            client.login(user, password + "x")
            wrong = None
        except smtplib.SMTPAuthenticationError as error:
            wrong = error.smtp_code
    return {"offered": offered, "seen": seen, "wrong": wrong}


def message():
    """send_message() with a name, a subject, a text and an attachment that are not ASCII."""
    mail = EmailMessage()
    mail["From"] = Address("Änn Öxample", addr_spec=user)
    mail["To"] = Address("Çarol", addr_spec=f"{tag}@remote.test")
    mail["Bcc"] = f"{tag}-hidden@remote.test"
    mail["Subject"] = "Ünïcödé ✓ " + "lang " * 30
    mail.set_content("Grüße ✓\n.\n..\n")
    mail.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="ünï.bin")
    with submissions() as client:
        client.login(user, password)
        refused = client.send_message(mail)
    return {"refused": refused}


print(json.dumps({"many": many, "nobody": nobody, "utf8": utf8, "eightbit": eightbit, "login": login,
                  "message": message}[scene]()))
