"""A mail server for tests. Prints the port that it listens on, then a line of JSON for each mail that it took.

Its argument is a JSON object:
  certificate, key    files (PEM); with them it has STARTTLS, or TLS from the first byte with "implicit"
  user, password      a login that it asks for, over TLS only unless "plain_login"
  greylist            how often it answers RCPT with 451 first
  rcpt, data          what it answers to RCPT and to the message, such as "550 no such user"
  refuse              an address whose messages it answers with 554
  slow                seconds before its answer to the message
  drop                how often it takes a message and closes the connection without an answer first
  late                it closes a connection after each mail
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

settings = json.loads(sys.argv[1])
left = {name: settings.get(name, 0) for name in ("greylist", "drop")}
connections = 0


def text(message, kind):
    part = message.get_body(preferencelist=(kind,))
    return part.get_content().replace("\r\n", "\n") if part else None


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if left["greylist"] > 0:
            left["greylist"] -= 1
            return "451 4.7.1 greylisted, try again later"
        if "rcpt" in settings:
            return settings["rcpt"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(settings.get("slow", 0))
        if "data" in settings:
            return settings["data"]
        if settings.get("refuse") in envelope.rcpt_tos:
            return "554 5.7.1 spam"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        took = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in message.items()},
            "raw": envelope.content.decode("ascii"),
            "text": text(message, "plain"),
            "html": text(message, "html"),
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "connections": connections,
        }
        print(json.dumps(took), flush=True)
        if left["drop"] > 0:
            left["drop"] -= 1
            server.transport.abort()
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    expected = (settings["user"].encode(), settings["password"].encode())
    right = isinstance(data, LoginPassword) and (data.login, data.password) == expected
    return AuthResult(success=right, handled=False, auth_data=data)


def smtp():
    global connections
    connections += 1
    options = {"ident": "test", "hostname": "localhost", "enable_SMTPUTF8": False}
    if context and not settings.get("implicit"):
        options["tls_context"] = context
    if "user" in settings:
        options.update(authenticator=authenticate, auth_required=True,
                       auth_require_tls=not (settings.get("implicit") or settings.get("plain_login")))
    return SMTP(Handler(), **options)


context = None
if "certificate" in settings:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings["certificate"], settings["key"])


async def main():
    loop = asyncio.get_running_loop()
    tls = context if settings.get("implicit") else None
    server = await loop.create_server(smtp, "127.0.0.1", settings.get("port", 0), ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
