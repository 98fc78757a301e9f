"""SMTP by hand over a socket of Python's, byte by byte what is wanted. Prints one JSON object with the replies.

usage: raw_client.py SCENE PORT AUTHORITY USER PASSWORD RECIPIENT [FILE]
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import sys

scene, port, authority, user, password, recipient = sys.argv[1:7]
body = open(sys.argv[7], "rb").read() if len(sys.argv) > 7 else b""


class Session:
    def __init__(self, tls=False):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), timeout=30)
        self.certificate = None
        if tls:
            context = ssl.create_default_context(cafile=authority)
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            self.certificate = self.socket.getpeercert(binary_form=True)
        self.file = self.socket.makefile("rb")
        self.hear()

    def hear(self):
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line.decode().strip()

    def send(self, data):
        self.socket.sendall(data)

    def say(self, line):
        self.send(line.encode() + b"\r\n")
        return self.hear()


def bdat():
    """BODY=BINARYMIME by BDAT, in chunks of many sizes, each waited for."""
    session = Session()
    session.say("EHLO client.remote.test")
    said = [session.say("MAIL FROM:<carol@remote.test> BODY=BINARYMIME"), session.say(f"RCPT TO:<{recipient}>")]
    at, size = 0, 1
    while at < len(body):
        chunk = body[at:at + size]
        at += len(chunk)
        last = " LAST" if at == len(body) else ""
        session.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        said.append(session.hear())
        size = min(size * 3 + 1, 4 << 20)
    return {"said": said, "bye": session.say("QUIT")}


def pipelined():
    """Everything in one write: MAIL, RCPT, chunks, and the next message behind them."""
    session = Session()
    session.say("EHLO client.remote.test")
    third = len(body) // 3
    parts = [b"MAIL FROM:<carol@remote.test> BODY=BINARYMIME SIZE=%d\r\n" % len(body),
             b"RCPT TO:<%s>\r\n" % recipient.encode(), b"RCPT TO:<nobody@dev.test>\r\n",
             b"BDAT %d\r\n" % third, body[:third], b"BDAT %d\r\n" % third, body[third:2 * third],
             b"BDAT %d\r\n" % (len(body) - 2 * third), body[2 * third:], b"BDAT 0 LAST\r\n",
             b"MAIL FROM:<carol@remote.test>\r\n", b"RSET\r\n", b"QUIT\r\n"]
    session.send(b"".join(parts))
    return {"said": [session.hear() for _ in range(10)]}


def data():
    """DATA of what is in the file, stuffed here, written in pieces that are cut anywhere."""
    session = Session()
    session.say("EHLO client.remote.test")
    said = [session.say("MAIL FROM:<carol@remote.test> BODY=8BITMIME"), session.say(f"RCPT TO:<{recipient}>"),
            session.say("DATA")]
    stuffed = (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    at, size = 0, 1
    while at < len(stuffed):
        session.send(stuffed[at:at + size])
        at += size
        size = size % 7001 + 13
    said.append(session.hear())
    return {"said": said, "bye": session.say("QUIT")}


def scram():
    """RFC 5802 and RFC 5929: SCRAM-SHA-256-PLUS, bound to the certificate; then with the binding of another one."""
    return {"right": exchange(lambda certificate: certificate), "relayed": exchange(lambda certificate: certificate[:-1])}


def exchange(bind):
    session = Session(tls=True)
    session.say("EHLO client.remote.test")
    header = b"p=tls-server-end-point,,"
    first = b"n=%s,r=%s" % (user.encode(), base64.b64encode(os.urandom(18)))
    challenge = session.say("AUTH SCRAM-SHA-256-PLUS " + base64.b64encode(header + first).decode())
    server_first = base64.b64decode(challenge[4:])
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    binding = hashlib.sha256(bind(session.certificate)).digest()
    final = b"c=%s,r=%s" % (base64.b64encode(header + binding), fields[b"r"])
    signed = first + b"," + server_first + b"," + final
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    answer = session.say(base64.b64encode(final + b",p=" + base64.b64encode(proof)).decode())
    if not answer.startswith("334 "):
        return {"answer": answer}
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))
    return {"answer": session.say(""), "proven": base64.b64decode(answer[4:]) == expected,
            "mail": session.say(f"MAIL FROM:<{user}>")}


print(json.dumps({"bdat": bdat, "pipelined": pipelined, "data": data, "scram": scram}[scene]()))
