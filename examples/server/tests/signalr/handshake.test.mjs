// The first record each way: always JSON, whatever follows.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { requestsOf } from './support/http.mjs';
import { HANDSHAKES, RawHub } from './support/raw-hub.mjs';
import { OPCODES } from './support/raw-socket.mjs';
import { CODECS } from './support/records.mjs';
import { WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const ada = requestsOf(world, () => world.ada);

const opened = (protocol = 'json') => RawHub.open(world, world.ada, { protocol, handshake: null });

const GOOD = [
  '{"protocol":"json","version":1}',
  '{"protocol":"json","version":2}',
  '{"protocol": "json", "version": 0}',
  '{"version":1,"protocol":"JSON"}',
  '{"protocol":"json","version":1,"more":{"a":[null]}}',
  '{"protocol":"messagepack","version":1}',
  '{"protocol":"MessagePack","version":2}',
];

for (const request of GOOD) {
  for (const [kind, opcode] of [['text', OPCODES.text], ['binary', OPCODES.binary]]) {
    test(`${request} in a ${kind} frame is answered with {}`, async () => {
      const hub = await opened(/json/i.test(request) ? 'json' : 'messagepack');
      hub.socket.send(`${request}\x1e`, opcode);
      await eventually('the handshake is answered', () => assert.equal(hub.handshake, '{}\x1e'));
      assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id);
      assert.deepEqual(hub.faults, []);
      hub.close();
    });
  }
}

const UNEXPECTED = 'An unexpected error occurred during connection handshake.';
const BAD = [
  ['{"protocol":', UNEXPECTED],
  ['', UNEXPECTED],
  ['null', UNEXPECTED],
  ['[]', UNEXPECTED],
  ['"json"', UNEXPECTED],
  ['{}', UNEXPECTED],
  ['{"protocol":"json"}', UNEXPECTED],
  ['{"version":1}', UNEXPECTED],
  ['{"protocol":7,"version":1}', UNEXPECTED],
  ['{"protocol":"json","version":"1"}', UNEXPECTED],
  ['{"protocol":null,"version":1}', UNEXPECTED],
  ['{"type":6}', UNEXPECTED],
  ['{"type":1,"target":"GetMe","arguments":[{}],"invocationId":"1"}', UNEXPECTED],
  ['\ufffd\0', UNEXPECTED],
  ['{"protocol":"xml","version":1}', "The protocol 'xml' is not supported."],
  ['{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol."],
  ['{"protocol":"messagepack","version":99}', "The server does not support version 99 of the 'messagepack' protocol."],
];

for (const [request, error] of BAD) {
  test(`${JSON.stringify(request)} is answered with an error, to the byte, and the end`, async () => {
    const answer = `{"error":"${error}"}\x1e`;
    const hub = await opened();
    hub.send(`${request}\x1e`);
    await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
    assert.equal(hub.handshake, answer);
    assert.deepEqual(hub.records, []);
    assert.equal(hub.socket.frames.at(-1).opcode, OPCODES.close);

    const { connectionToken: id } = await ada.negotiate();
    await ada.poll(id);
    await ada.post(id, `${request}\x1e`);
    assert.equal((await ada.poll(id)).text, answer);
    await eventually('the connection is gone', async () => assert.equal((await ada.poll(id)).status, 404));
  });
}

for (const protocol of ['json', 'messagepack']) {
  test(`${protocol}: what follows the handshake in the same frame is read`, async () => {
    const hub = await opened(protocol);
    const ask = (number) => hub.codec.write({ type: 1, invocationId: `${number}`, target: 'GetMe', arguments: [{}] });
    hub.send(Buffer.concat([Buffer.from(HANDSHAKES[protocol]), ask(1), ask(2)]));
    await hub.answer('2');
    assert.deepEqual(hub.records.map(({ invocationId }) => invocationId), ['1', '2']);
    assert.equal(hub.handshake, '{}\x1e');
    hub.close();
  });

  test(`${protocol}: what follows the handshake in the same POST is read`, async () => {
    const { connectionToken: id } = await ada.negotiate();
    await ada.post(id, Buffer.concat([
      Buffer.from(HANDSHAKES[protocol]),
      CODECS[protocol].write({ type: 1, invocationId: '1', target: 'GetMe', arguments: [{}] }),
    ]));
    await ada.poll(id);
    const bytes = [];
    await eventually('both have come', async () => {
      bytes.push((await ada.poll(id)).bytes);
      assert.ok(Buffer.concat(bytes).includes(world.ada.id));
    });
    assert.equal(Buffer.concat(bytes).subarray(0, 3).toString(), '{}\x1e');
  });
}

test('a handshake in pieces', async () => {
  const hub = await opened();
  for (const byte of HANDSHAKES.json) hub.send(byte);
  await eventually('the handshake is answered', () => assert.equal(hub.handshake, '{}\x1e'));
  hub.close();
});

test('more than 32,768 bytes without an end are cancelled', async () => {
  const hub = await opened();
  hub.send('x'.repeat(32_769));
  await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
  assert.equal(hub.handshake, '{"error":"Handshake was canceled."}\x1e');
});

describe('after 15 s', { concurrency: true }, () => {
  const isCancelled = async (began, answer) => {
    await answer('{"error":"Handshake was canceled."}\x1e');
    const took = Date.now() - began;
    assert.ok(took > 14_000 && took < 20_000, `after ${took} ms`);
  };

  test('a WebSocket on which nothing is said is cancelled', async () => {
    const hub = await opened();
    await isCancelled(Date.now(), (text) => eventually('the answer comes', () => assert.equal(hub.handshake, text), 25_000));
    await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
  });

  test('a WebSocket on which the handshake drips is cancelled', async () => {
    const hub = await opened();
    const drip = setInterval(() => hub.send('{'), 1000);
    try {
      await isCancelled(Date.now(), (text) => eventually('the answer comes', () => assert.equal(hub.handshake, text), 25_000));
    } finally {
      clearInterval(drip);
    }
  });

  test('an event stream without a handshake is cancelled', async () => {
    const { connectionToken: id } = await ada.negotiate();
    const stream = await ada.listen(id);
    await isCancelled(Date.now(), (text) => eventually('the answer comes', () => assert.ok(stream.text.includes(text)), 25_000));
    await stream.ends();
  });

  test('long polls without a handshake are cancelled', async () => {
    const { connectionToken: id } = await ada.negotiate();
    await ada.poll(id);
    await isCancelled(Date.now(), async (text) => assert.equal((await ada.poll(id)).text, text));
  });

  test('a connection that nobody comes to fetch is forgotten', async () => {
    const { connectionToken: id } = await ada.negotiate();
    const began = Date.now();
    await eventually('it is forgotten', async () => {
      const { status } = await ada.delete(id);
      assert.equal(status, 404);
    }, 25_000);
    assert.ok(Date.now() - began > 14_000);
  });

  test('long polls that nobody polls are forgotten, and others see the person go', async (t) => {
    const guest = await world.person('Guest');
    const requests = requestsOf(world, () => guest);
    const watcher = await world.connect(t, world.bob, WEB_SOCKETS[0]);
    await watcher.call('WatchPresence', { userIds: [guest.id] });
    const { connectionToken: id } = await requests.negotiate();
    await requests.poll(id);
    await requests.post(id, HANDSHAKES.json);
    assert.equal((await requests.poll(id)).text, '{}\x1e');
    await watcher.gets('presenceChanged', ({ userId, online }) => userId === guest.id && online);
    await watcher.gets('presenceChanged', ({ userId, online }) => userId === guest.id && !online, 40_000);
    assert.equal((await requests.post(id, '{"type":6}\x1e')).status, 404);
  });
});
