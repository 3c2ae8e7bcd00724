import { decode, encode } from '@msgpack/msgpack';

const SEPARATOR = 0x1e;

/** How many bytes the official client needs for an invocation, with the separator or the length prefix. */
export function invocationSize(protocol, target, fields, invocationId) {
  const message = { type: 1, target, arguments: [fields], invocationId };
  const written = protocol.writeMessage(message);
  return typeof written === 'string' ? Buffer.byteLength(written) : written.byteLength;
}

/** Takes the whole records off the front of `bytes`; the rest is what is not whole. */
export const CODECS = {
  json: {
    name: 'json',
    opcode: 1,
    split(bytes) {
      const records = [];
      let start = 0;
      for (let end; (end = bytes.indexOf(SEPARATOR, start)) >= 0; start = end + 1) records.push(bytes.subarray(start, end + 1));
      return { records, rest: bytes.subarray(start) };
    },
    parse: (record) => JSON.parse(record.subarray(0, -1).toString()),
    write: (message) => Buffer.from(`${JSON.stringify(message)}\x1e`),
  },
  messagepack: {
    name: 'messagepack',
    opcode: 2,
    split(bytes) {
      const records = [];
      let start = 0;
      for (;;) {
        const prefix = readPrefix(bytes, start);
        if (!prefix || prefix.end + prefix.length > bytes.length) return { records, rest: bytes.subarray(start) };
        records.push(bytes.subarray(start, prefix.end + prefix.length));
        start = prefix.end + prefix.length;
      }
    },
    parse: (record) => fromArray(decode(record.subarray(readPrefix(record, 0).end))),
    write: (message) => framed(Buffer.from(encode(toArray(message)))),
  },
};

/** A MessagePack body behind its length. */
export function framed(body) {
  const prefix = [];
  for (let rest = body.length; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.concat([Buffer.from([...prefix, rest]), body]);
    prefix.push((rest & 0x7f) | 0x80);
  }
}

function readPrefix(bytes, start) {
  let length = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = bytes[start + index];
    if (byte === undefined) return null;
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { length, end: start + index + 1 };
  }
  throw new Error('a length of more than five bytes');
}

/** A server's MessagePack array, in the words of JSON and as strict about its form as the strictest client. */
function fromArray(array) {
  const [type, second, third, fourth, fifth, sixth] = array;
  const fail = () => {
    throw new Error(`not as clients read it: ${JSON.stringify(array)}`);
  };
  const hasNoHeaders = second && typeof second === 'object' && Object.keys(second).length === 0;
  switch (type) {
    case 1:
      if (!hasNoHeaders || third !== null || !Array.isArray(fifth) || !Array.isArray(sixth) || sixth.length || array.length !== 6) fail();
      return { type, target: fourth, arguments: fifth };
    case 2:
      if (!hasNoHeaders || typeof third !== 'string' || array.length !== 4) fail();
      return { type, invocationId: third, item: fourth };
    case 3:
      if (!hasNoHeaders || typeof third !== 'string' || array.length !== (fourth === 2 ? 4 : 5)) fail();
      if (fourth === 1) return { type, invocationId: third, error: fifth };
      return { type, invocationId: third, ...(fourth === 3 && { result: fifth }) };
    case 6:
      if (array.length !== 1) fail();
      return { type };
    case 7:
      return { type, ...(second !== null && { error: second }), ...(third && { allowReconnect: true }) };
    case 8:
    case 9:
      if (array.length !== 2) fail();
      return { type, sequenceId: second };
    default:
      return fail();
  }
}

function toArray(message) {
  const { type, headers = {}, invocationId = null, streamIds = [] } = message;
  switch (type) {
    case 1:
    case 4:
      return [type, headers, invocationId, message.target, message.arguments, streamIds];
    case 2:
      return [type, headers, invocationId, message.item];
    case 3:
      if ('error' in message) return [type, headers, invocationId, 1, message.error];
      return 'result' in message ? [type, headers, invocationId, 3, message.result] : [type, headers, invocationId, 2];
    case 5:
      return [type, headers, invocationId];
    case 7:
      return [type, message.error ?? null];
    case 8:
    case 9:
      return [type, message.sequenceId];
    default:
      return [type];
  }
}
