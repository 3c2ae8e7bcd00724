// Which request gets which status, and what long polls and event streams look like to the byte.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { requestsOf } from './support/http.mjs';
import { HANDSHAKES, RawHub } from './support/raw-hub.mjs';
import { openRawSocket } from './support/raw-socket.mjs';
import { CODECS } from './support/records.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const UNKNOWN = 'AAAAAAAAAAAAAAAAAAAAAA';
const ada = requestsOf(world, () => world.ada);
const bob = requestsOf(world, () => world.bob);

const negotiated = async (query = '') => (await ada.negotiate(`/negotiate?negotiateVersion=1${query}`)).connectionToken;

function upgrade(id, person = world.ada) {
  const target = id === undefined ? '/api/v1/hub' : `/api/v1/hub?id=${id}`;
  return openRawSocket(world.server.port, target, { authorization: `Bearer ${person.token}` });
}

async function polling() {
  const id = await negotiated();
  const first = await ada.poll(id);
  assert.equal(first.status, 200);
  assert.equal(first.bytes.length, 0);
  await ada.post(id, HANDSHAKES.json);
  assert.equal((await ada.poll(id)).text, '{}\x1e');
  return id;
}

async function listening() {
  const id = await negotiated();
  const stream = await ada.listen(id);
  assert.equal(stream.status, 200);
  return { id, stream };
}

const saysStatus = (answer, status, text) => {
  assert.equal(answer.status, status, answer.text ?? answer.body);
  if (text) assert.ok((answer.text ?? answer.body).includes(text), answer.text ?? answer.body);
};

describe('WebSocket', () => {
  test('without an id: a new connection', async () => {
    const hub = await RawHub.open(world, world.ada);
    assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id);
    hub.close();
  });

  test('an unknown id: 404', async () => saysStatus(await upgrade(UNKNOWN), 404, 'No Connection with that ID'));

  test('an id that has a WebSocket already: 409, and the first goes on', async () => {
    const id = await negotiated();
    const hub = await RawHub.open(world, world.ada, { query: `?id=${id}` });
    saysStatus(await upgrade(id), 409);
    assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id);
    hub.close();
  });

  test('an id of another transport: 400', async () => {
    saysStatus(await upgrade(await polling()), 400, 'Cannot change transports mid-connection');
    const { id, stream } = await listening();
    saysStatus(await upgrade(id), 400, 'Cannot change transports mid-connection');
    stream.abort();
  });

  test('a stateful id that has a WebSocket: 101, and the older one is dropped', async () => {
    const id = await negotiated('&useStatefulReconnect=true');
    const handshake = '{"protocol":"json","version":2}\x1e';
    const first = await RawHub.open(world, world.ada, { query: `?id=${id}`, handshake });
    assert.equal((await first.ask('1', 'GetMe')).result.id, world.ada.id);
    const second = await RawHub.open(world, world.ada, { query: `?id=${id}`, isResumed: true });
    await eventually('the older one ends', () => assert.ok(first.socket.hasEnded));
    second.send({ type: 9, sequenceId: 2 }, { type: 1, invocationId: '2', target: 'GetMe', arguments: [{}] });
    assert.equal((await second.answer('2')).result.id, world.ada.id);
    assert.deepEqual(second.records[0], { type: 9, sequenceId: 1 }, 'what was not acknowledged begins with the first');
    assert.equal((await second.answer('1')).result.id, world.ada.id, 'and comes again');
    assert.deepEqual(second.records.filter(({ type }) => type === 3).map(({ invocationId }) => invocationId), ['1', '2']);
    second.close();
  });

  test('a connection that was offered stateful reconnect but has version 1 is a plain one', async () => {
    const id = await negotiated('&useStatefulReconnect=true');
    const hub = await RawHub.open(world, world.ada, { query: `?id=${id}` });
    assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id);
    saysStatus(await upgrade(id), 409);
    hub.close();
    await eventually('the id is gone', async () => saysStatus(await upgrade(id), 404));
  });

  test('a stateful id after a close frame or a Close message: 404', async () => {
    for (const goodbye of [(hub) => hub.send({ type: 7 }), ({ socket }) => socket.send(Buffer.from([3, 232]), 8)]) {
      const id = await negotiated('&useStatefulReconnect=true');
      const hub = await RawHub.open(world, world.ada, { query: `?id=${id}`, handshake: '{"protocol":"json","version":2}\x1e' });
      goodbye(hub);
      await eventually('it ends', () => assert.ok(hub.socket.hasEnded));
      saysStatus(await upgrade(id), 404);
    }
  });

  test('a WebSocket handshake that is none is refused', async () => {
    const headers = { authorization: `Bearer ${world.ada.token}`, 'sec-websocket-version': '12' };
    const { status } = await openRawSocket(world.server.port, '/api/v1/hub', headers);
    assert.ok(status >= 400 && status < 500, `${status}`);
  });
});

describe('event stream', () => {
  test('no id, an unknown one, another transport: 400, 404, 400', async () => {
    assert.equal((await ada.listen(undefined)).status, 400);
    assert.equal((await ada.listen(UNKNOWN)).status, 404);
    assert.equal((await ada.listen(await polling())).status, 400);
    const id = await negotiated();
    const hub = await RawHub.open(world, world.ada, { query: `?id=${id}` });
    assert.equal((await ada.listen(id)).status, 400);
    hub.close();
  });

  test('a second stream: 409, and the first goes on', async () => {
    const { id, stream } = await listening();
    assert.equal((await ada.listen(id)).status, 409);
    saysStatus(await ada.post(id, HANDSHAKES.json), 200);
    await stream.says('data: {}\x1e\r\n\r\n');
    stream.abort();
  });

  test('its headers, its first line, and its events', async () => {
    const { id, stream } = await listening();
    assert.match(stream.headers.get('content-type'), /^text\/event-stream\b/);
    assert.match(stream.headers.get('cache-control'), /no-cache/);
    assert.match(stream.headers.get('cache-control'), /no-store/);
    assert.ok([null, 'identity'].includes(stream.headers.get('content-encoding')));
    await stream.says(':\r\n');
    assert.ok(stream.text.startsWith(':'), 'a comment comes at once');

    await ada.post(id, HANDSHAKES.json);
    await ada.post(id, '{"type":1,"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e');
    await stream.says('"invocationId":"1"');
    const events = stream.text.split('\r\n\r\n').filter((part) => part.includes('data: '));
    for (const event of events) assert.match(event, /^(:\r\n)?data: (?:[^\r\n]*\x1e)+$/, 'whole records, in one line');
    stream.abort();
    await eventually('its end is the end of the connection', async () => saysStatus(await ada.post(id, '{"type":6}\x1e'), 404));
  });

  test('text alone can be carried', async () => {
    const { id, stream } = await listening();
    await ada.post(id, HANDSHAKES.messagepack);
    await stream.says(
      `data: {"error":"Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format."}\x1e\r\n\r\n`,
    );
    await stream.ends();
  });

  test('the server ends it with Close and the end of the answer', async () => {
    const { id, stream } = await listening();
    await ada.post(id, HANDSHAKES.json);
    await stream.says('data: {}\x1e');
    await ada.post(id, '{"type":7}\x1e');
    await stream.says('data: {"type":7}\x1e\r\n\r\n');
    await stream.ends();
    saysStatus(await ada.post(id, '{"type":6}\x1e'), 404);
  });
});

describe('poll', () => {
  test('no id, an unknown one, another transport: 400, 404, 400', async () => {
    saysStatus(await ada.poll(undefined), 400, 'Connection ID required');
    saysStatus(await ada.poll(UNKNOWN), 404, 'No Connection with that ID');
    const { id, stream } = await listening();
    saysStatus(await ada.poll(id), 400, 'Cannot change transports mid-connection');
    stream.abort();
    const ofSocket = await negotiated();
    const hub = await RawHub.open(world, world.ada, { query: `?id=${ofSocket}` });
    saysStatus(await ada.poll(ofSocket), 400, 'Cannot change transports mid-connection');
    hub.close();
  });

  test('the first is empty and at once, even if something waits', async () => {
    const id = await negotiated();
    saysStatus(await ada.post(id, HANDSHAKES.json), 200);
    const first = await ada.poll(id);
    saysStatus(first, 200);
    assert.equal(first.bytes.length, 0);
    assert.equal(first.headers.get('content-length'), '0');
    const second = await ada.poll(id);
    assert.equal(second.text, '{}\x1e');
    assert.match(second.headers.get('content-type'), /^application\/octet-stream\b/);
  });

  test('answers are not to be kept', async () => {
    const { headers } = await ada.poll(await polling().then(async (id) => {
      await ada.post(id, '{"type":1,"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e');
      return id;
    }));
    assert.match(headers.get('cache-control'), /no-cache/);
    assert.match(headers.get('cache-control'), /no-store/);
    assert.equal(headers.get('pragma'), 'no-cache');
    assert.equal(headers.get('expires'), 'Thu, 01 Jan 1970 00:00:00 GMT');
  });

  test('whole records, as many as there are', async () => {
    const id = await polling();
    const ask = (number) => `{"type":1,"invocationId":"${number}","target":"GetMe","arguments":[{}]}\x1e`;
    await ada.post(id, Array.from({ length: 20 }, (_, number) => ask(number)).join(''));
    let answers = [];
    while (answers.length < 20) {
      const { text } = await ada.poll(id);
      assert.ok(text.endsWith('\x1e'), text);
      answers = [...answers, ...text.split('\x1e').slice(0, -1).map((record) => JSON.parse(record).invocationId)];
    }
    assert.deepEqual(answers, Array.from({ length: 20 }, (_, number) => `${number}`));
  });

  test('a newer one takes over from one that is held, and nothing is lost', async () => {
    const id = await polling();
    for (let round = 0; round < 10; round += 1) {
      const older = ada.poll(id);
      const newer = ada.poll(id);
      // Which of the two arrives first is the network's choice.
      const done = await Promise.race([older.then((answer) => [answer, newer]), newer.then((answer) => [answer, older])]);
      saysStatus(done[0], 204);
      await ada.post(id, `{"type":1,"invocationId":"${round}","target":"GetMe","arguments":[{}]}\x1e`);
      const { status, text } = await done[1];
      assert.equal(status, 200);
      assert.equal(JSON.parse(text.slice(0, -1)).invocationId, `${round}`);
    }
  });

  test('one that the client gave up loses nothing', async () => {
    const id = await polling();
    for (let round = 0; round < 10; round += 1) {
      const controller = new AbortController();
      const given = ada.poll(id, { signal: controller.signal }).catch(() => null);
      if (round % 2) await ada.post(id, '{"type":6}\x1e');
      controller.abort();
      assert.equal(await given, null);
      await ada.post(id, `{"type":1,"invocationId":"${round}","target":"GetMe","arguments":[{}]}\x1e`);
      const { text } = await ada.poll(id);
      assert.equal(JSON.parse(text.split('\x1e')[0]).invocationId, `${round}`);
    }
  });

  test('the server ends it with Close, then 204, then 404', async () => {
    const id = await polling();
    const held = ada.poll(id);
    await ada.post(id, '{"type":7}\x1e');
    assert.equal((await held).text, '{"type":7}\x1e');
    saysStatus(await ada.poll(id), 204);
    saysStatus(await ada.poll(id), 404);
  });

  test('binary records', async () => {
    const id = await negotiated();
    await ada.poll(id);
    await ada.post(id, HANDSHAKES.messagepack);
    assert.equal((await ada.poll(id)).text, '{}\x1e');
    await ada.post(id, CODECS.messagepack.write({ type: 1, invocationId: '1', target: 'GetMe', arguments: [{}] }));
    const { records, rest } = CODECS.messagepack.split((await ada.poll(id)).bytes);
    assert.equal(rest.length, 0);
    assert.deepEqual(records.map(CODECS.messagepack.parse).map(({ type, invocationId, result }) => [type, invocationId, result.id]), [
      [3, '1', world.ada.id],
    ]);
  });
});

describe('POST', () => {
  test('no id, an unknown one: 400, 404', async () => {
    saysStatus(await ada.post(undefined, '{"type":6}\x1e'), 400);
    saysStatus(await ada.post(UNKNOWN, '{"type":6}\x1e'), 404);
  });

  test('to a WebSocket: 405', async () => {
    const id = await negotiated();
    const hub = await RawHub.open(world, world.ada, { query: `?id=${id}` });
    saysStatus(await ada.post(id, '{"type":6}\x1e'), 405, 'POST requests are not allowed for WebSocket connections.');
    hub.close();
  });

  test('the answer is plain and empty, whatever the type of the body', async () => {
    const id = await polling();
    for (const type of ['text/plain;charset=UTF-8', 'application/octet-stream', 'application/json', 'text/html']) {
      const answer = await ada.post(id, '{"type":6}\x1e', { headers: { 'content-type': type } });
      saysStatus(answer, 200);
      assert.equal(answer.bytes.length, 0);
      assert.match(answer.headers.get('content-type') ?? 'text/plain', /^text\/plain\b/);
    }
  });

  test('a body that breaks off leaves the connection as it was', async () => {
    const id = await polling();
    const socket = connect(world.server.port, '127.0.0.1');
    const record = '{"type":1,"invocationId":"half","target":"GetMe","arguments":[{}]}\x1e';
    socket.write(
      `POST /api/v1/hub?id=${id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.ada.token}\r\ncontent-length: ${record.length}\r\n\r\n${record.slice(0, 20)}`,
    );
    await new Promise((resolve) => socket.end(resolve));
    socket.destroy();
    await ada.post(id, '{"type":1,"invocationId":"whole","target":"GetMe","arguments":[{}]}\x1e');
    const { text } = await ada.poll(id);
    assert.equal(JSON.parse(text.slice(0, -1)).invocationId, 'whole');
  });
});

describe('DELETE', () => {
  test('no id, an unknown one: 400, 404', async () => {
    saysStatus(await ada.delete(undefined), 400);
    saysStatus(await ada.delete(UNKNOWN), 404);
  });

  test('no long polls, or none yet: 400', async () => {
    const text = 'Cannot terminate this connection using the DELETE endpoint.';
    saysStatus(await ada.delete(await negotiated()), 400, text);
    const { id, stream } = await listening();
    saysStatus(await ada.delete(id), 400, text);
    stream.abort();
    const ofSocket = await negotiated();
    const hub = await RawHub.open(world, world.ada, { query: `?id=${ofSocket}` });
    saysStatus(await ada.delete(ofSocket), 400, text);
    hub.close();
  });

  test('long polls end: 202, and 204 for the poll that is held', async () => {
    const id = await polling();
    const held = ada.poll(id);
    // The poll must be there first, else it comes too late and finds nothing.
    await ada.post(id, '{"type":1,"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e');
    assert.equal((await held).status, 200);
    const next = ada.poll(id);
    await eventually('the connection has ended', async () => {
      const { status } = await ada.delete(id);
      assert.ok([202, 404].includes(status), `${status}`);
    });
    const { status, text } = await next;
    // A goodbye may come first.
    assert.ok([204, 404].includes(status) || text === '{"type":7}\x1e', `${status} ${text}`);
    saysStatus(await ada.post(id, '{"type":6}\x1e'), 404);
  });
});

test('other methods: 405', async () => {
  const id = await polling();
  for (const method of ['PUT', 'PATCH']) saysStatus(await ada.request(method, `?id=${id}`), 405);
});

test('a connection is no other person’s: 404 for every kind of request', async () => {
  const fresh = await negotiated();
  saysStatus(await bob.post(fresh, HANDSHAKES.json), 404);
  saysStatus(await bob.poll(fresh), 404);
  assert.equal((await bob.listen(fresh)).status, 404);
  saysStatus(await upgrade(fresh, world.bob), 404);

  const polled = await polling();
  saysStatus(await bob.post(polled, '{"type":6}\x1e'), 404);
  saysStatus(await bob.poll(polled), 404);
  saysStatus(await bob.delete(polled), 404);
  saysStatus(await upgrade(polled, world.bob), 404);

  const id = await negotiated('&useStatefulReconnect=true');
  const hub = await RawHub.open(world, world.ada, { query: `?id=${id}`, handshake: '{"protocol":"json","version":2}\x1e' });
  saysStatus(await upgrade(id, world.bob), 404);
  assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id, 'its own goes on');
  hub.close();
  await ada.post(polled, '{"type":1,"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e');
  assert.ok((await ada.poll(polled)).text.includes(world.ada.id));
});

test('the public id is no token', async () => {
  const { connectionId } = await ada.negotiate();
  saysStatus(await ada.poll(connectionId), 404);
  saysStatus(await upgrade(connectionId), 404);
});
