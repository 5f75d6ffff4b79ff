#!/bin/sh
# aiosmtpd 1.4.6 (PyPI), 2026-11-30: on a connection that is TLS from its first byte (RFC 8314) it behaves as without
# encryption. With its defaults AUTH is not offered, AUTH is answered with 538 "Encryption required for requested
# authentication mechanism", and Session.ssl is None. Tests of smtps:// with a login need auth_require_tls=False.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet aiosmtpd==1.4.6
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
cat >seen.py <<'PYTHON'
import asyncio, smtplib, ssl
from aiosmtpd.smtp import SMTP, AuthResult

sessions = []

class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        sessions.append((session, server.transport.get_extra_info("ssl_object")))
        return responses

def client(port):
    with smtplib.SMTP_SSL("localhost", port, context=ssl.create_default_context(cafile="cert.pem")) as smtp:
        smtp.ehlo()
        return smtp.sock.version(), smtp.has_extn("auth"), smtp.docmd("AUTH", "PLAIN AGEAYg==")

async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("cert.pem", "key.pem")
    make = lambda: SMTP(Handler(), authenticator=lambda *_: AuthResult(success=True))
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=context)
    version, offered, answer = await asyncio.to_thread(client, server.sockets[0].getsockname()[1])
    session, of_transport = sessions[0]
    print(f"{version}: AUTH offered: {offered}; AUTH answered with {answer}; Session.ssl: {session.ssl}")
    assert version.startswith("TLS") and of_transport is not None
    assert not offered and answer[0] == 538 and session.ssl is None

asyncio.run(main())
PYTHON
venv/bin/python seen.py 2>/dev/null
