"""A conversation with a hub through signalrcore; what it saw is printed as one JSON object.

Arguments: address of the hub, token, id of a chat, `json` or `messagepack`, name of a transport.
"""

import json
import os
import queue
import sys
import threading

from signalrcore.hub.handlers import StreamHandler
from signalrcore.hub_connection_builder import HubConnectionBuilder
from signalrcore.messages.stream_invocation_message import StreamInvocationMessage
from signalrcore.types import HttpTransportType, HubProtocolEncoding

LIMIT_S = 10


def main(url, token, chat_id, protocol, transport):
    opened = threading.Event()
    created, answers, errors = queue.Queue(), queue.Queue(), queue.Queue()
    encodings = {"json": HubProtocolEncoding.text, "messagepack": HubProtocolEncoding.binary}
    hub = (
        HubConnectionBuilder()
        .with_url(url, options={"access_token_factory": lambda: token, "transport": HttpTransportType(transport)})
        .with_hub_protocol(encodings[protocol])
        .build()
    )
    hub.on_open(opened.set)
    hub.on_error(errors.put)
    hub.on("messageCreated", created.put)
    hub.start()
    try:
        if not opened.wait(LIMIT_S):
            raise TimeoutError(f"not open in {LIMIT_S} s")
        hub.invoke("SendMessage", [{"chatId": chat_id, "body": "from Python ✓"}], answers.put)
        answer = answers.get(timeout=LIMIT_S)
        event = created.get(timeout=LIMIT_S)[0]
        hub.invoke("SendMessage", [{"chatId": chat_id, "body": ""}])
        error = errors.get(timeout=LIMIT_S)

        items, ended = [], threading.Event()
        # As `hub.stream` does it, which loses what comes before one has subscribed to what it returns.
        stream = StreamHandler("StreamHistory", "history")
        stream.subscribe({"next": items.append, "complete": lambda _: ended.set(), "error": errors.put})
        hub.stream_handlers["history"].append(stream)
        hub.transport.send(StreamInvocationMessage("history", "StreamHistory", [{"chatId": chat_id}], headers=hub.headers))
        if not ended.wait(LIMIT_S):
            raise TimeoutError(f"{len(items)} items and no end in {LIMIT_S} s")
        return {"answer": answer.result, "event": event, "error": error.error, "items": items}
    finally:
        hub.stop()


print(json.dumps(main(*sys.argv[1:])), flush=True)
# A thread of the client sleeps on for as long as its pings are apart.
os._exit(0)
