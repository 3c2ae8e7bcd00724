import assert from 'node:assert/strict';
import { eventually } from '../../browser/support/wait.mjs';
import { OPCODES, openRawSocket } from './raw-socket.mjs';
import { CODECS } from './records.mjs';

export const HANDSHAKES = {
  json: '{"protocol":"json","version":1}\x1e',
  messagepack: '{"protocol":"messagepack","version":1}\x1e',
};

/** A hub connection over a raw WebSocket that sends bytes as it is told, and checks each frame and record that comes. */
export class RawHub {
  /** Parsed, in the order in which they came. */
  records = [];
  /** The same as bytes. */
  bytes = [];
  /** The answer to the handshake as it came. */
  handshake = null;
  faults = [];

  /** Without a `handshake` it is left to the caller; where `isResumed` there is none, as this is no new connection. */
  static async open(world, person, { protocol = 'json', query = '', handshake = HANDSHAKES[protocol], isResumed = false } = {}) {
    const socket = await openRawSocket(world.server.port, `/api/v1/hub${query}`, { authorization: `Bearer ${person.token}` });
    assert.equal(socket.status, 101, socket.body);
    const hub = new RawHub(socket, CODECS[protocol], isResumed);
    if (handshake && !isResumed) {
      hub.send(handshake);
      await eventually('the handshake is answered', () => assert.ok(hub.handshake));
    }
    return hub;
  }

  constructor(socket, codec, isResumed) {
    Object.assign(this, { socket, codec, handshake: isResumed ? 'done' : null });
    const early = socket.frames.splice(0);
    socket.onFrame = (frame) => this.#take(frame);
    early.forEach((frame) => this.#take(frame));
  }

  #take({ final, opcode, payload }) {
    if (opcode >= OPCODES.close) return;
    if (!final || opcode === OPCODES.continuation) this.faults.push('a message in several frames, which this client does not read');
    const fault = (what) => this.faults.push(`${what}: ${opcode} ${payload.subarray(0, 200).toString('latin1')}`);
    let content = payload;
    if (!this.handshake) {
      const end = payload.indexOf(0x1e) + 1;
      this.handshake = payload.subarray(0, end).toString();
      content = payload.subarray(end);
      if (this.codec.name === 'json' && opcode !== OPCODES.text) fault('a handshake in a binary frame');
      if (content.length === 0) return;
    }
    if (opcode !== this.codec.opcode) fault('the wrong type of frame');
    const { records, rest } = this.codec.split(content);
    if (rest.length > 0) fault('a part of a record in a frame');
    for (const record of records) {
      try {
        this.records.push(this.codec.parse(record));
        this.bytes.push(record);
      } catch (error) {
        fault(error.message);
      }
    }
  }

  /** A text or bytes as they are, or a message to be written in the protocol. */
  send(...parts) {
    const isText = parts.every((part) => typeof part === 'string');
    const bytes = parts.map((part) =>
      typeof part === 'string' || Buffer.isBuffer(part) ? Buffer.from(part) : this.codec.write(part));
    this.socket.send(Buffer.concat(bytes), isText ? OPCODES.text : this.codec.opcode);
  }

  ask(invocationId, target, fields = {}) {
    this.send({ type: 1, invocationId, target, arguments: [fields] });
    return this.answer(invocationId);
  }

  answer(invocationId) {
    return this.gets(`an answer to ${invocationId}`, (record) => record.type === 3 && record.invocationId === invocationId);
  }

  event(target, matches = () => true) {
    return this.gets(target, (record) => record.type === 1 && record.target === target && matches(record.arguments[0]));
  }

  async gets(what, matches, timeoutMs = 10_000) {
    return eventually(what, () => {
      const found = this.records.find(matches);
      assert.ok(found, `there are ${JSON.stringify(this.records).slice(0, 500)}`);
      return found;
    }, timeoutMs);
  }

  /** The server ends the connection in the orderly way: Close, a close frame of code 1000, the end of the stream. */
  async endsWith(close, timeoutMs = 10_000) {
    await eventually('the connection ends', () => assert.ok(this.socket.hasEnded, JSON.stringify(this.records.at(-1))), timeoutMs);
    assert.deepEqual(this.records.at(-1), close);
    this.hasClosedOrderly();
  }

  hasClosedOrderly() {
    const last = this.socket.frames.at(-1);
    assert.equal(last?.opcode, OPCODES.close, 'the last frame is a close frame');
    assert.equal(last.payload.readUInt16BE(0), 1000);
    assert.deepEqual(this.faults, []);
  }

  close() {
    this.socket.close();
  }
}

export const CLOSED_WITH_ERROR = { type: 7, error: 'Connection closed with an error.', allowReconnect: true };
