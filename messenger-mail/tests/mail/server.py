"""A mail server that fails as it is told.

Its only argument is JSON:

  tls, cert, key   "starttls" or "implicit", with the files of a certificate
  logins           kinds of log-in, such as ["PLAIN", "LOGIN", "XOAUTH2"]; "secret" is the password and the token
  utf8             whether it takes addresses beyond ASCII
  faults           a list of {"at": STAGE, "do": "reply" | "stall" | "drop" | "inject", "reply": "550 no", "times": 1,
                   "after": 0}; the first "after" times pass, the next "times" fail

A stage is GREETING, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, CONTENT or RSET. It prints its port and then what happens, each a line of
JSON, and ends when its input does.
"""

import asyncio
import base64
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

logging.getLogger("mail.log").setLevel(logging.CRITICAL)
SETTINGS = json.loads(sys.argv[1])
FAULTS = [dict({"times": 1 << 30, "after": 0}, **fault) for fault in SETTINGS.get("faults", [])]


def tell(**event):
    print(json.dumps(event), flush=True)


def is_due(fault):
    for count in ["after", "times"]:
        if fault[count] > 0:
            fault[count] -= 1
            return count == "times"
    return False


class Server(SMTP):
    greeted = False

    def connection_made(self, transport):
        if transport.get_extra_info("sslcontext") is None or SETTINGS.get("tls") == "implicit":
            tell(event="connect")
        super().connection_made(transport)

    async def fault(self, stage):
        """Whether the stage is over by a fault."""
        for fault in FAULTS:
            if fault["at"] == stage and fault["do"] != "inject" and is_due(fault):
                await self.suffer(fault)
                return True
        return False

    async def suffer(self, fault):
        if fault["do"] == "stall":
            await asyncio.Event().wait()
        if fault["do"] == "drop":
            self.transport.abort()
        else:
            await super().push(fault["reply"])

    async def push(self, status):
        text = status.decode() if isinstance(status, bytes) else status
        if not self.greeted:
            self.greeted = True
            if await self.fault("GREETING"):
                return
        if text.startswith("220 Ready") and any(fault["do"] == "inject" for fault in FAULTS):
            text += "\r\n250-injected\r\n250 AUTH PLAIN"
        await super().push(text)

    async def smtp_EHLO(self, hostname):
        await self.fault("EHLO") or await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg):
        await self.fault("STARTTLS") or await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg):
        await self.fault("AUTH") or await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg):
        await self.fault("MAIL") or await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg):
        await self.fault("RCPT") or await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg):
        await self.fault("DATA") or await super().smtp_DATA(arg)

    async def smtp_RSET(self, arg):
        tell(event="reset")
        await self.fault("RSET") or await super().smtp_RSET(arg)


class Handler:
    async def handle_DATA(self, server, session, envelope):
        tell(
            event="mail",
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            content=base64.b64encode(envelope.original_content).decode(),
            encrypted=session.ssl is not None or SETTINGS.get("tls") == "implicit",
        )
        for fault in FAULTS:
            if fault["at"] == "CONTENT" and is_due(fault):
                if fault["do"] == "reply":
                    return fault["reply"]
                await server.suffer(fault)
        return "250 taken"

    async def auth_XOAUTH2(self, server, args):
        said = base64.b64decode(args[1]).decode() if len(args) > 1 else ""
        good = said.endswith(f"auth=Bearer {SETTINGS['secret']}\x01\x01")
        tell(event="login", mechanism="XOAUTH2", good=good)
        if not good:
            await server.push("334 " + base64.b64encode(b'{"status":"401"}').decode())
            await server._reader.readline()
        return AuthResult(success=good, handled=False)


def authenticate(server, session, envelope, mechanism, data):
    good = data.password.decode() == SETTINGS["secret"]
    tell(event="login", mechanism=mechanism, good=good)
    return AuthResult(success=good, handled=False)


async def main():
    context = None
    if SETTINGS.get("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(SETTINGS["cert"], SETTINGS["key"])
    implicit = SETTINGS.get("tls") == "implicit"
    wanted = SETTINGS.get("logins", [])

    def make():
        return Server(
            Handler(),
            hostname="mail.test",
            enable_SMTPUTF8=SETTINGS.get("utf8", False),
            tls_context=None if implicit else context,
            require_starttls=SETTINGS.get("tls") == "starttls",
            auth_required=bool(wanted),
            auth_require_tls=False,
            authenticator=authenticate,
            auth_exclude_mechanism=[kind for kind in ["PLAIN", "LOGIN", "XOAUTH2"] if kind not in wanted],
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=context if implicit else None)
    tell(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
