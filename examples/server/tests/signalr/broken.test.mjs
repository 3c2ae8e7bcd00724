// Bytes in pieces, bytes that break off, and bytes that were sent to do harm. Nothing of it may touch another connection.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { requestsOf } from './support/http.mjs';
import { CLOSED_WITH_ERROR, HANDSHAKES, RawHub } from './support/raw-hub.mjs';
import { OPCODES } from './support/raw-socket.mjs';
import { CODECS, framed } from './support/records.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const LIMIT = 32_768;
const MOST_GROWTH = 64 * 1024 * 1024;
let witness = null;
let asked = 0;

after(() => witness?.close());

/** One connection that is there all the time, of another person. */
async function witnessIsUnhurt() {
  witness ??= await RawHub.open(world, world.bob);
  asked += 1;
  assert.equal((await witness.ask(`${asked}`, 'GetMe')).result.id, world.bob.id);
  assert.deepEqual(witness.faults, []);
}

const getMe = (codec, id = '1') => codec.write({ type: 1, invocationId: id, target: 'GetMe', arguments: [{}] });

/** Runs the work of many connections, a few at a time. */
async function inParallel(items, work) {
  const left = [...items];
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let item; (item = left.shift()) !== undefined; ) await work(item);
  }));
}

const upTo = (count) => Array.from({ length: count }, (_, index) => index);

for (const codec of Object.values(CODECS)) {
  const name = (what) => `${codec.name}: ${what}`;
  const opened = () => RawHub.open(world, world.ada, { protocol: codec.name });

  test(name('a conversation that is cut in two at each of its bytes is understood'), async () => {
    const conversation = Buffer.concat([Buffer.from(HANDSHAKES[codec.name]), codec.write({ type: 6 }), getMe(codec, '1'), getMe(codec, '2')]);
    await inParallel(upTo(conversation.length + 1), async (at) => {
      const hub = await RawHub.open(world, world.ada, { protocol: codec.name, handshake: null });
      for (const part of [conversation.subarray(0, at), conversation.subarray(at)]) hub.socket.send(part, OPCODES.binary);
      assert.equal((await hub.answer('2')).result.id, world.ada.id, `cut at ${at}`);
      assert.deepEqual(hub.records.map(({ invocationId }) => invocationId), ['1', '2'], `cut at ${at}`);
      hub.close();
    });
  });

  test(name('a conversation of which each message has one byte is understood'), async () => {
    const hub = await RawHub.open(world, world.ada, { protocol: codec.name, handshake: null });
    const conversation = Buffer.concat([Buffer.from(HANDSHAKES[codec.name]), getMe(codec, '1'), getMe(codec, '2')]);
    for (const byte of conversation) hub.socket.send(Buffer.from([byte]), OPCODES.binary);
    await hub.answer('2');
    assert.deepEqual(hub.records.map(({ invocationId }) => invocationId), ['1', '2']);
    hub.close();
  });

  test(name('a conversation over POST that is cut in two at each of its bytes is understood'), async () => {
    const requests = requestsOf(world, () => world.ada);
    const conversation = Buffer.concat([Buffer.from(HANDSHAKES[codec.name]), getMe(codec, '1')]);
    await inParallel(upTo(conversation.length - 1).filter((at) => at % 3 === 0).map((at) => at + 1), async (at) => {
      const { connectionToken: id } = await requests.negotiate();
      await requests.poll(id);
      await requests.post(id, conversation.subarray(0, at));
      await requests.post(id, conversation.subarray(at));
      let bytes = Buffer.alloc(0);
      while (!bytes.includes(world.ada.id)) {
        const { status, bytes: more } = await requests.poll(id);
        assert.equal(status, 200, `cut at ${at}`);
        bytes = Buffer.concat([bytes, more]);
      }
      assert.equal(codec.split(bytes.subarray(3)).records.length, 1);
      assert.equal((await requests.delete(id)).status, 202);
    });
  });

  /** Sends what is wrong, then enough of nothing to fill any record that is still open: at the latest that must be an end. */
  async function sendWrong(bytes) {
    const hub = await opened();
    // In a binary frame, since text that is none would be the WebSocket's own affair.
    hub.socket.send(Buffer.concat([bytes, Buffer.alloc(LIMIT + 10, codec.name === 'json' ? ' ' : 0xc1)]), OPCODES.binary);
    await hub.endsWith(CLOSED_WITH_ERROR);
    for (const record of hub.records.slice(0, -1)) assert.equal(record.type, 3, JSON.stringify(record));
  }

  test(name('a record that is cut off at each of its bytes ends its connection in order'), async () => {
    const record = getMe(codec);
    const bodyLength = record.length - 1;
    await inParallel(upTo(bodyLength), async (length) => {
      const cut = codec.name === 'json' ? Buffer.concat([record.subarray(0, length), Buffer.from([0x1e])]) : framed(record.subarray(1, 1 + length));
      const hub = await opened();
      hub.send(cut);
      // Of an array that is cut off, some whole ones are left: an invocation need not have all its parts.
      await eventually(`the record of ${length} bytes is judged`, () => assert.ok(hub.socket.hasEnded || hub.records.length > 0));
      if (hub.records[0].type === 7) await hub.endsWith(CLOSED_WITH_ERROR);
      else assert.equal(hub.records[0].type, 3);
      hub.close();
    });
    await witnessIsUnhurt();
  });

  for (const [what, change] of [['turned round', (byte) => byte ^ 0xff], ['made zero', () => 0], ['raised by one', (byte) => (byte + 1) & 0xff]]) {
    test(name(`a record of which each byte in turn is ${what} hurts nobody`), async () => {
      const record = getMe(codec);
      await inParallel(upTo(record.length), async (at) => {
        const wrong = Buffer.from(record);
        wrong[at] = change(wrong[at]);
        await sendWrong(wrong);
      });
      await witnessIsUnhurt();
    });
  }
}

const invocation = (fields) => Buffer.from(`{"type":1,"invocationId":"1","target":"GetMe",${fields}}\x1e`, 'latin1');

const HOSTILE_JSON = {
  'deep arrays': invocation(`"arguments":${'['.repeat(15_000)}${']'.repeat(15_000)}`),
  'deep arrays without an end': invocation(`"arguments":${'['.repeat(30_000)}`),
  'deep objects beside the arguments': invocation(`"arguments":[{}],"later":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`),
  'bytes that are no UTF-8': invocation('"arguments":[{"a":"\xff\xfe"}]'),
  'a half of a surrogate pair': invocation('"arguments":[{"query":"\\ud800"}]'),
  'a number beyond all bounds': invocation('"arguments":[{"limit":1e999}]'),
  'a number of 20,000 digits': invocation(`"arguments":[{"limit":${'9'.repeat(20_000)}}]`),
  'a name that comes twice': invocation('"arguments":[{}],"arguments":[{}]'),
  'a type that is a text': Buffer.from('{"type":"1","invocationId":"1","target":"GetMe","arguments":[{}]}\x1e'),
  'a type that is a fraction': Buffer.from('{"type":1.5,"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e'),
  'an id that is a number': Buffer.from('{"type":1,"invocationId":1,"target":"GetMe","arguments":[{}]}\x1e'),
  'no target': Buffer.from('{"type":1,"invocationId":"1","arguments":[{}]}\x1e'),
  'no arguments': Buffer.from('{"type":1,"invocationId":"1","target":"GetMe"}\x1e'),
  'no type': Buffer.from('{"invocationId":"1","target":"GetMe","arguments":[{}]}\x1e'),
  'an empty record': Buffer.from('\x1e'),
  'a list of records': Buffer.from('[{"type":6}]\x1e'),
  'zero bytes': Buffer.from('\0\0\0\x1e'),
  'a stream without an id': Buffer.from('{"type":4,"target":"StreamHistory","arguments":[{}]}\x1e'),
};

const u32 = 'ffffffff';
const hex = (text) => Buffer.from(text, 'hex');

const HOSTILE_MESSAGEPACK = {
  'deep arrays': framed(Buffer.concat([hex('950180a131a54765744d65'), Buffer.alloc(30_000, 0x91), hex('c0')])),
  'deep maps': framed(Buffer.concat([hex('950180a131a54765744d6591'), ...Array.from({ length: 10_000 }, () => hex('81a161')), hex('c0')])),
  'deep arrays beside the arguments': framed(Buffer.concat([hex('970180a131a54765744d65918090'), Buffer.alloc(30_000, 0x91), hex('c0')])),
  'deep arrays as headers': framed(Buffer.concat([hex('950181a161'), Buffer.alloc(30_000, 0x91), hex('c0')])),
  'an array of 2^32 records': framed(hex(`dd${u32}01`)),
  'arguments of 2^32 items': framed(hex(`950180a131a54765744d65dd${u32}`)),
  'arguments of 2^32 pairs': framed(hex(`950180a131a54765744d6591df${u32}`)),
  'headers of 2^32 pairs': framed(hex(`9501df${u32}`)),
  'a target of 2^32 bytes': framed(hex(`950180a131db${u32}41`)),
  'an argument of 2^32 bytes': framed(hex(`950180a131a54765744d6591c6${u32}00`)),
  'an extension of 2^32 bytes': framed(hex(`950180a131a54765744d6591c9${u32}01`)),
  'stream ids of 2^32 items': framed(hex(`960180a131a54765744d659180dd${u32}`)),
  'the unused type': framed(hex('950180a131a54765744d6591c1')),
  'a text that is no UTF-8': framed(hex('950180a131a5fffefdfcfb9180')),
  'an id that is a number': framed(hex('95018001a54765744d659180')),
  'a type that is a text': framed(hex('95a13180a131a54765744d659180')),
  'no array': framed(hex('80')),
  'an empty array': framed(hex('90')),
  'a record without a byte': hex('00'),
  'a length of 2^31 - 1': hex('ffffffff0795'),
  'a length of 2^31': hex('808080800895'),
  'a length of more than five bytes': hex('ffffffffffff01'),
  'a length of zeros': hex('808080808000'),
  'bytes behind the record': framed(hex('9106c0c0c0')),
};

for (const [protocol, cases] of [['json', HOSTILE_JSON], ['messagepack', HOSTILE_MESSAGEPACK]]) {
  for (const [what, bytes] of Object.entries(cases)) {
    test(`${protocol}: ${what}`, async () => {
      const peak = await peakMemory();
      const codec = CODECS[protocol];
      const hub = await RawHub.open(world, world.ada, { protocol });
      hub.socket.send(Buffer.concat([bytes, getMe(codec, 'after')]), OPCODES.binary);
      await eventually('it is judged', () =>
        assert.ok(hub.socket.hasEnded || hub.records.some(({ invocationId }) => invocationId === 'after')));
      if (hub.socket.hasEnded) await hub.endsWith(CLOSED_WITH_ERROR);
      for (const record of hub.records) assert.ok([3, 7].includes(record.type), JSON.stringify(record));
      hub.close();
      await witnessIsUnhurt();
      const grown = (await peakMemory()) - peak;
      assert.ok(grown < MOST_GROWTH, `the server grew by ${grown} bytes`);
    });
  }
}

/** What the server has used at most, in bytes; Linux tells. */
async function peakMemory() {
  const status = await readFile(`/proc/${world.server.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)[1]) * 1024;
}

const FRAMES = {
  'a frame that is not masked': hex('8102' + Buffer.from('hi').toString('hex')),
  'reserved bits': hex('f18000000000'),
  'an unknown opcode': hex('838000000000'),
  'a continuation of nothing': hex('808000000000'),
  'a frame of 2^63 bytes': hex('82ff7fffffffffffffff00000000'),
  'a ping of 126 bytes': Buffer.concat([hex('89fe007e00000000'), Buffer.alloc(126)]),
  'a close frame of one byte': hex('88810000000003'),
};

for (const [what, bytes] of Object.entries(FRAMES)) {
  test(`WebSocket: ${what} ends its connection`, async () => {
    const hub = await RawHub.open(world, world.ada);
    hub.socket.socket.write(bytes);
    await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
    await witnessIsUnhurt();
  });
}

test('a text frame that is no UTF-8 ends its connection', async () => {
  const hub = await RawHub.open(world, world.ada);
  hub.socket.send(Buffer.concat([Buffer.from([0xff, 0xfe]), getMe(CODECS.json)]), OPCODES.text);
  await eventually('the connection ends', () => assert.ok(hub.socket.hasEnded));
  await witnessIsUnhurt();
});

test('a body of more than 2 MiB is refused, and the connection behind it ends or goes on', async () => {
  const requests = requestsOf(world, () => world.ada);
  const { connectionToken: id } = await requests.negotiate();
  await requests.poll(id);
  await requests.post(id, HANDSHAKES.json);
  const answer = await requests.post(id, Buffer.alloc(3 * 1024 * 1024, ' ')).catch(() => null);
  assert.ok(answer === null || [400, 413].includes(answer.status), `${answer?.status}`);
  assert.equal((await requests.poll(id)).text, '{}\x1e');
  await witnessIsUnhurt();
});

for (const [transport, record] of [['LongPolling', '{"type":1,"target":}\x1e'], ['LongPolling', `{"type":6,"x":"${'x'.repeat(LIMIT)}"}\x1e`]]) {
  test(`${transport}: a record of ${record.length} bytes that is none is answered with Close in a poll`, async () => {
    const requests = requestsOf(world, () => world.ada);
    const { connectionToken: id } = await requests.negotiate();
    await requests.poll(id);
    await requests.post(id, HANDSHAKES.json);
    assert.equal((await requests.poll(id)).text, '{}\x1e');
    assert.equal((await requests.post(id, record)).status, 200);
    assert.deepEqual(CODECS.json.parse((await requests.poll(id)).bytes), CLOSED_WITH_ERROR);
    assert.equal((await requests.poll(id)).status, 204);
  });
}
