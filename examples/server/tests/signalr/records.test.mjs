// What hub messages look like on the wire, so that clients of all languages can read them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { eventually } from '../browser/support/wait.mjs';
import { EVENTS, numbered } from './support/client.mjs';
import { CLOSED_WITH_ERROR, RawHub } from './support/raw-hub.mjs';
import { framed } from './support/records.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

/** Every name and value in a payload, whatever its depth. */
function* walk(value, path = '') {
  if (value === null || typeof value !== 'object') {
    yield { path, value };
    return;
  }
  for (const [name, inner] of Object.entries(value)) {
    if (!Array.isArray(value)) yield { path: `${path}.${name}`, name };
    yield* walk(inner, `${path}.${name}`);
  }
}

/** A conversation in which almost every event comes, on a connection that listens alone. */
async function everyEvent(hubs) {
  for (const hub of hubs) await hub.ask('live', 'Resume');
  const group = await world.ada.createGroup('Tea', [world.bob]);
  for (const hub of hubs) await hub.event('chatAdded', ({ chat }) => chat.id === group.id);
  const api = world.ada.api;
  const chat = `/chats/${group.id}`;
  const first = await world.ada.send(group, 'hello ✓ \u001e "quoted" \\', { clientId: 'c-1' });
  const second = await world.ada.send(group, 'an answer', { replyTo: first.id });
  await api('PATCH', `${chat}/messages/${first.id}`, { body: 'mended' });
  await api('DELETE', `${chat}/messages/${second.id}`);
  await api('PATCH', chat, { title: 'Coffee' });
  await api('PUT', `${chat}/delivered`, { seq: 3 });
  await api('PUT', `${chat}/read`, { seq: 4 });
  await api('POST', `${chat}/typing`, { typing: true });
  await api('PUT', `${chat}/members/${world.bob.id}/role`, { role: 'admin' });
  await api('DELETE', `${chat}/members/${world.bob.id}`);
  const direct = await world.ada.openDirect(await world.person('Guest'));
  await world.ada.send(direct, 'not for Bob');
  for (const hub of hubs) await hub.event('chatRemoved', ({ chatId }) => chatId === group.id);
  return group;
}

const SEEN = ['chatAdded', 'messageCreated', 'messageEdited', 'messageDeleted', 'chatUpdated', 'readMoved', 'typing', 'chatRemoved'];

test('events are the same in both protocols, in camelCase, without anything null', async () => {
  const hubs = await Promise.all(['json', 'messagepack'].map((protocol) => RawHub.open(world, world.bob, { protocol })));
  await everyEvent(hubs);
  const [json, messagepack] = hubs.map(({ records }) => records.filter(({ type, target }) => type === 1 && target !== 'presenceChanged'));
  assert.deepEqual(json, messagepack);
  for (const target of SEEN) assert.ok(json.some((record) => record.target === target), target);
  for (const record of [...json, ...messagepack]) {
    assert.deepEqual(Object.keys(record).sort(), ['arguments', 'target', 'type'], 'an event wants no answer and has no headers');
    assert.equal(record.type, 1);
    assert.ok(EVENTS.includes(record.target), record.target);
    assert.equal(record.arguments.length, 1);
    for (const { path, name, value } of walk(record.arguments[0])) {
      if (name) assert.match(name, /^[a-z][A-Za-z]*$/, path);
      else assert.notEqual(value, null, `${record.target}${path}`);
    }
  }
  for (const hub of hubs) {
    assert.deepEqual(hub.faults, []);
    hub.close();
  }
});

test('numbers are whole on the wire', async () => {
  const group = await world.group();
  const [json, messagepack] = await Promise.all(['json', 'messagepack'].map((protocol) => RawHub.open(world, world.bob, { protocol })));
  await world.ada.send(group, 'x');
  for (const hub of [json, messagepack]) await hub.event('messageCreated');
  assert.match(json.bytes.at(-1).toString(), /"revision":2[,}]/);
  assert.match(json.bytes.at(-1).toString(), /"seq":2[,}]/);
  for (const name of ['revision', 'seq']) {
    const record = messagepack.bytes.at(-1);
    const at = record.indexOf(Buffer.concat([Buffer.from([0xa0 | name.length]), Buffer.from(name)])) + 1 + name.length;
    assert.equal(record[at], 2, `${name} is a positive fixint`);
  }
  for (const hub of [json, messagepack]) hub.close();
});

for (const protocol of ['json', 'messagepack']) {
  const name = (what) => `${protocol}: ${what}`;
  const open = (options) => RawHub.open(world, world.ada, { protocol, ...options });

  test(name('answers have what belongs to them and nothing else'), async () => {
    const hub = await open();
    const group = await world.group();
    const value = await hub.ask('a value', 'GetMe');
    assert.deepEqual(Object.keys(value).sort(), ['invocationId', 'result', 'type']);
    for (const { path, name, value: inner } of walk(value.result)) assert.ok(name || inner !== null, path);
    const nothing = await hub.ask('nothing', 'SetTyping', { chatId: group.id, typing: true });
    assert.ok(!('error' in nothing));
    assert.equal(nothing.result ?? null, null);
    const error = await hub.ask('an error', 'GetChat', { chatId: 'x' });
    assert.deepEqual(Object.keys(error).sort(), ['error', 'invocationId', 'type']);
    assert.equal(typeof error.error, 'string');

    hub.send({ type: 4, invocationId: 'items', target: 'StreamHistory', arguments: [{ chatId: group.id }] });
    assert.deepEqual(await hub.answer('items'), { type: 3, invocationId: 'items' });
    const items = hub.records.filter(({ type }) => type === 2);
    assert.deepEqual(items, [{ type: 2, invocationId: 'items', item: items[0].item }]);
    assert.equal(items[0].item.system.event, 'created');
    assert.deepEqual(hub.faults, []);
    hub.close();
  });

  test(name('ids of invocations are opaque'), async () => {
    const hub = await open();
    for (const id of ['0', '00', 'a b', '"', '✓', '6f1a9d2e-…', 'x'.repeat(1000)]) {
      assert.equal((await hub.ask(id, 'GetMe')).result.id, world.ada.id);
    }
    hub.close();
  });

  test(name('an invocation without an id is done and never answered'), async () => {
    const group = await world.group();
    const hub = await open();
    const send = (body, more) => hub.send({ type: 1, target: 'SendMessage', arguments: [{ chatId: group.id, body, ...more }] });
    send('done');
    send('');
    send('x', { colour: 'red' });
    hub.send({ type: 1, target: 'Sing', arguments: [] });
    hub.send({ type: 1, target: 'StreamHistory', arguments: [{ chatId: group.id }] });
    await hub.ask('1', 'GetMe');
    await hub.event('messageCreated', ({ message }) => message.body === 'done');
    await hub.ask('2', 'GetMe');
    assert.deepEqual(hub.records.filter(({ type }) => type !== 1).map(({ type, invocationId }) => [type, invocationId]), [[3, '1'], [3, '2']]);
    hub.close();
  });

  test(name('invocations take effect in the order in which they were sent'), async () => {
    const hub = await open();
    const group = await world.group();
    const steps = numbered(100).map((body, index) => index % 10 === 9
      ? { type: 1, invocationId: body, target: 'UpdateChat', arguments: [{ chatId: group.id, title: body }] }
      : { type: 1, invocationId: body, target: 'SendMessage', arguments: [{ chatId: group.id, body }] });
    hub.send(...steps);
    for (const { invocationId } of steps) assert.ok((await hub.answer(invocationId)).result);
    const history = (await world.ada.history(group)).slice(1);
    assert.deepEqual(history.map(({ body, system }) => body ?? system.title), numbered(100));
    hub.close();
  });

  test(name('a stream that is cancelled ends without an error, and nothing follows it'), async () => {
    const hub = await open();
    const group = await world.group();
    hub.send(...numbered(1200).map((body, index) =>
      ({ type: 1, invocationId: `s${index}`, target: 'SendMessage', arguments: [{ chatId: group.id, body }] })));
    await hub.answer('s1199');
    hub.send(
      { type: 4, invocationId: 'stream', target: 'StreamHistory', arguments: [{ chatId: group.id }] },
      { type: 5, invocationId: 'stream' },
      { type: 5, invocationId: 'no such stream' },
    );
    assert.deepEqual(await hub.answer('stream'), { type: 3, invocationId: 'stream' });
    const count = () => hub.records.filter(({ type }) => type === 2).length;
    const atEnd = count();
    assert.ok(atEnd < 1201, `${atEnd} items came although the stream was cancelled in the same breath`);
    await hub.ask('after', 'GetMe');
    assert.equal(count(), atEnd);
    const answers = hub.records.filter(({ type, invocationId }) => type === 3 && invocationId === 'stream');
    assert.equal(answers.length, 1);
    hub.close();
  });

  test(name('streams run beside invocations and beside each other'), async () => {
    const hub = await open();
    const group = await world.group();
    hub.send(...numbered(300).map((body, index) =>
      ({ type: 1, invocationId: `s${index}`, target: 'SendMessage', arguments: [{ chatId: group.id, body }] })));
    await hub.answer('s299');
    const stream = (id, more) => ({ type: 4, invocationId: id, target: 'StreamHistory', arguments: [{ chatId: group.id, ...more }] });
    hub.send(stream('a'), stream('b', { after: 150 }), { type: 1, invocationId: 'me', target: 'GetMe', arguments: [{}] });
    await Promise.all(['a', 'b', 'me'].map((id) => hub.answer(id)));
    const seqs = (id) => hub.records.filter(({ type, invocationId }) => type === 2 && invocationId === id).map(({ item }) => item.seq);
    assert.deepEqual(seqs('a'), numbered(301).map((_, index) => index + 1));
    assert.deepEqual(seqs('b'), numbered(151).map((_, index) => index + 151));
    hub.close();
  });

  test(name('an id that is in use by a stream is refused'), async () => {
    const hub = await open();
    const group = await world.group();
    hub.send(...numbered(1000).map((body, index) =>
      ({ type: 1, invocationId: `s${index}`, target: 'SendMessage', arguments: [{ chatId: group.id, body }] })));
    await hub.answer('s999');
    const stream = { type: 4, invocationId: 'twice', target: 'StreamHistory', arguments: [{ chatId: group.id }] };
    hub.send(stream, stream);
    await hub.gets('the refusal', ({ type, error }) => type === 3 && error === "Invocation ID 'twice' is already in use.");
    assert.equal((await hub.ask('1', 'GetMe')).result.id, world.ada.id);
    hub.close();
  });

  test(name('what a later version may bring is passed over'), async () => {
    const hub = await open();
    hub.send({ type: 42 }, { type: 6 }, { type: 2, invocationId: 'no such upload', item: 1 }, { type: 3, invocationId: 'no such result' });
    if (protocol === 'json') {
      hub.send('{"arguments":[{}],"headers":{"a":"b"},"later":[{"type":7}],"invocationId":"1","target":"GetMe","type":1}\x1e');
      hub.send('{"invocationId":"2","target":"GetMe","arguments":[{}],"streamIds":[],"type":1}\x1e');
      hub.send('{ "type" : 1 , "target" : "GetMe" , "arguments" : [ { } ] , "invocationId" : "3" }\n\x1e');
    } else {
      const write = (array) => framed(Buffer.from(encode(array)));
      hub.send(
        write([1, { 'Content-Type': 'x' }, '1', 'GetMe', [{}], [], 'later', { type: 7 }]),
        write([1, {}, '2', 'GetMe', [{}]]),
        write([1, null, '3', 'GetMe', [{}], []]),
      );
    }
    for (const id of ['1', '2', '3']) assert.equal((await hub.answer(id)).result.id, world.ada.id);
    assert.deepEqual(hub.records.map(({ type }) => type), [3, 3, 3]);
    hub.close();
  });

  test(name('an empty id is none'), async () => {
    const hub = await open();
    hub.send({ type: 1, invocationId: '', target: 'GetMe', arguments: [{}] });
    await hub.ask('1', 'GetMe');
    assert.deepEqual(hub.records.map(({ invocationId }) => invocationId), ['1']);
    hub.close();
  });

  test(name('one argument is wanted, no more and no less'), async () => {
    const hub = await open();
    hub.send({ type: 1, invocationId: '1', target: 'GetMe', arguments: [{}, {}] });
    assert.match((await hub.answer('1')).error, /^Failed to invoke 'GetMe' due to an error on the server\./);
    for (const [id, argument] of [['2', 'text'], ['3', [1]], ['4', 7]]) {
      hub.send({ type: 1, invocationId: id, target: 'GetMe', arguments: [argument] });
      assert.ok((await hub.answer(id)).error);
    }
    hub.send({ type: 1, invocationId: '5', target: 'GetMe', arguments: [{}], streamIds: ['6'] });
    assert.ok((await hub.answer('5')).error.includes('Client sent 1 stream(s), Hub method expects 0.'));
    hub.close();
  });

  test(name('exactly 32,768 bytes are taken, and one more ends the connection'), async () => {
    const witness = await open();
    const hub = await open();
    const record = (filler) => hub.codec.write({ type: 1, invocationId: '1', target: 'GetMe', arguments: [{}], headers: { filler: 'x'.repeat(filler) } });
    const filler = 30_000 + 32_768 - record(30_000).length;
    assert.equal(record(filler).length, 32_768);
    hub.send(record(filler));
    assert.equal((await hub.answer('1')).result.id, world.ada.id);
    hub.send(record(filler + 1));
    await hub.endsWith(CLOSED_WITH_ERROR);
    assert.equal((await witness.ask('1', 'GetMe')).result.id, world.ada.id);
    witness.close();
  });

  test(name('many records, more than 32,768 bytes together, may come in one message'), async () => {
    const hub = await open();
    const ask = (number) => hub.codec.write({ type: 1, invocationId: `${number}`, target: 'GetMe', arguments: [{}], headers: { x: 'x'.repeat(5000) } });
    hub.send(...numbered(40).map((_, number) => ask(number)));
    await hub.answer('39');
    assert.deepEqual(hub.records.map(({ invocationId }) => invocationId), numbered(40).map((_, number) => `${number}`));
    hub.close();
  });

  test(name('Close is answered with Close, and the connection ends in order'), async () => {
    const hub = await open();
    hub.send({ type: 7 });
    await hub.endsWith({ type: 7 });
  });

  test(name('a close frame is answered with one'), async () => {
    const hub = await open();
    hub.socket.send(Buffer.from([3, 232]), 8);
    await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
    assert.equal(hub.socket.frames.at(-1).opcode, 8);
  });

  test(name('WebSocket pings are answered, also in the middle of a message'), async () => {
    const hub = await open();
    const record = hub.codec.write({ type: 1, invocationId: '1', target: 'GetMe', arguments: [{}] });
    hub.socket.send(record.subarray(0, 10), hub.codec.opcode, false);
    hub.socket.send('are you there', 9);
    hub.socket.send(record.subarray(10), 0);
    assert.equal((await hub.answer('1')).result.id, world.ada.id);
    const pong = hub.socket.frames.find(({ opcode }) => opcode === 10);
    assert.equal(pong.payload.toString(), 'are you there');
    hub.close();
  });
}

describe('in the long run', { concurrency: true }, () => {
  for (const [protocol, ping] of [['json', '{"type":6}\x1e'], ['messagepack', '\x02\x91\x06']]) {
    test(`${protocol}: the server pings after 15 s, to the byte`, async () => {
      const hub = await RawHub.open(world, world.bob, { protocol });
      const began = Date.now();
      await hub.gets('a ping', ({ type }) => type === 6, 20_000);
      const took = Date.now() - began;
      assert.ok(took > 13_000, `after ${took} ms`);
      const index = hub.records.findIndex(({ type }) => type === 6);
      assert.equal(hub.bytes[index].toString('latin1'), ping);
      hub.close();
    });

    test(`${protocol}: a client that pings once and then falls silent is given up after 30 s`, async () => {
      const [pings, silent] = [await RawHub.open(world, world.bob, { protocol }), await RawHub.open(world, world.bob, { protocol })];
      // A client that never pings is one of a kind that does not; it stays.
      pings.send({ type: 6 });
      const began = Date.now();
      await pings.endsWith(CLOSED_WITH_ERROR, 45_000);
      assert.ok(Date.now() - began > 28_000);
      assert.equal((await silent.ask('1', 'GetMe')).result.id, world.bob.id);
      silent.close();
    });
  }
});
