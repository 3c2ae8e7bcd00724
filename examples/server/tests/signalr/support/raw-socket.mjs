import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { eventually } from '../../browser/support/wait.mjs';

export const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/**
 * A WebSocket of bytes: what a client library would refuse to send is sent, and frames are kept as they came. If the handshake is
 * refused, `status` and `body` say how.
 */
export async function openRawSocket(port, target, headers = {}) {
  const socket = connect(port, '127.0.0.1');
  const raw = new RawSocket(socket);
  const key = randomBytes(16).toString('base64');
  const lines = {
    host: `127.0.0.1:${port}`,
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-version': '13',
    'sec-websocket-key': key,
    ...headers,
  };
  socket.write(`GET ${target} HTTP/1.1\r\n${Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
  await raw.readHead();
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  if (raw.status === 101 && raw.headers.get('sec-websocket-accept') !== accept) throw new Error('a wrong Sec-WebSocket-Accept');
  return raw;
}

class RawSocket {
  frames = [];
  hasEnded = false;
  /** Whether the server reset the connection instead of ending it. */
  wasReset = false;
  #bytes = Buffer.alloc(0);

  constructor(socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('error', ({ code }) => (this.wasReset ||= code === 'ECONNRESET'));
    socket.on('close', () => (this.hasEnded = true));
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      if (this.status === 101) this.#readFrames();
    });
  }

  async readHead() {
    await eventually('the handshake is answered', () => {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end < 0) throw new Error(this.hasEnded ? 'the connection ended' : 'no head');
      const [first, ...lines] = this.#bytes.subarray(0, end).toString().split('\r\n');
      const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
      const length = Number(headers.get('content-length') ?? 0);
      const body = this.#bytes.subarray(end + 4);
      const status = Number(first.split(' ')[1]);
      if (status !== 101 && body.length < length) throw new Error('a part of the body');
      Object.assign(this, { status, headers, body: status === 101 ? '' : body.toString() });
      this.#bytes = status === 101 ? body : Buffer.alloc(0);
    });
    if (this.status === 101) this.#readFrames();
    else this.socket.destroy();
  }

  #readFrames() {
    for (;;) {
      const bytes = this.#bytes;
      if (bytes.length < 2) return;
      const short = bytes[1] & 0x7f;
      const start = { 126: 4, 127: 10 }[short] ?? 2;
      if (bytes.length < start) return;
      const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
      if (bytes.length < start + length) return;
      this.frames.push({ final: (bytes[0] & 0x80) !== 0, opcode: bytes[0] & 0x0f, payload: bytes.subarray(start, start + length) });
      this.#bytes = bytes.subarray(start + length);
      this.#answer(this.frames.at(-1));
      this.onFrame?.(this.frames.at(-1));
    }
  }

  /** A server waits a while for the answer to its close frame. */
  #answer({ opcode, payload }) {
    if (opcode === OPCODES.ping) this.send(payload, OPCODES.pong);
    if (opcode === OPCODES.close) this.send(payload, OPCODES.close);
  }

  send(data, opcode = typeof data === 'string' ? OPCODES.text : OPCODES.binary, final = true) {
    const payload = Buffer.from(data);
    const mask = randomBytes(4);
    const { length } = payload;
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    head[0] = (final ? 0x80 : 0) | opcode;
    head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
    if (head.length === 4) head.writeUInt16BE(length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
    this.socket.write(Buffer.concat([head, mask, payload.map((byte, index) => byte ^ mask[index % 4])]));
  }

  close() {
    this.socket.destroy();
  }
}
