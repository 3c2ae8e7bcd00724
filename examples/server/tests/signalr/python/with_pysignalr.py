"""A conversation with a hub through pysignalr; what it saw is printed as one JSON object.

Arguments: address of the hub, token, id of a chat, `json` or `messagepack`.
"""

import asyncio
import json
import sys

from pysignalr.client import SignalRClient
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol

LIMIT_S = 10


async def main(url, token, chat_id, protocol):
    protocols = {"json": JSONProtocol, "messagepack": MessagepackProtocol}
    # Its token factory is not asked before the first connection.
    client = SignalRClient(url, protocol=protocols[protocol](), headers={"Authorization": f"Bearer {token}"})
    opened = asyncio.Event()
    created = asyncio.Queue()
    answers = asyncio.Queue()
    errors = asyncio.Queue()

    async def on_open():
        opened.set()

    client.on_open(on_open)
    client.on("messageCreated", created.put)
    client.on_error(errors.put)
    running = asyncio.create_task(client.run())

    async def within(awaitable):
        waited = asyncio.ensure_future(awaitable)
        done, _ = await asyncio.wait({waited, running}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if waited not in done:
            waited.cancel()
            if running in done:
                running.result()
            raise TimeoutError(f"nothing came in {LIMIT_S} s")
        return waited.result()

    try:
        await within(opened.wait())
        await client.send("SendMessage", [{"chatId": chat_id, "body": "from Python ✓"}], answers.put)
        answer = await within(answers.get())
        event = (await within(created.get()))[0]
        await client.send("SendMessage", [{"chatId": chat_id, "body": ""}], answers.put)
        error = await within(errors.get())

        items = []
        ended = asyncio.Event()

        async def on_next(item):
            items.append(item)

        async def on_complete(_):
            ended.set()

        await client.stream("StreamHistory", [{"chatId": chat_id}], on_next, on_complete)
        await within(ended.wait())
        return {"answer": answer.result, "event": event, "error": error.error, "items": items}
    finally:
        running.cancel()


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
