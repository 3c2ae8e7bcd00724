import assert from 'node:assert/strict';
import { eventually } from '../../browser/support/wait.mjs';

export const TRANSPORTS = [
  { transport: 'WebSockets', transferFormats: ['Text', 'Binary'] },
  { transport: 'ServerSentEvents', transferFormats: ['Text'] },
  { transport: 'LongPolling', transferFormats: ['Text', 'Binary'] },
];

/** Requests to the hub without a client, as a person or, if there is none, without a token. `person` is asked for each time. */
export function requestsOf(world, person) {
  const ownHeaders = () => (person ? { authorization: `Bearer ${person().token}` } : {});

  async function request(method, target, { body, headers: more, signal } = {}) {
    const response = await fetch(`${world.hubUrl()}${target}`, { method, body, headers: { ...ownHeaders(), ...more }, signal });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, text: bytes.toString() };
  }

  const query = (id) => (id === undefined ? '' : `?id=${encodeURIComponent(id)}`);

  return {
    request,
    async negotiate(target = '/negotiate?negotiateVersion=1') {
      const answer = await request('POST', target);
      assert.equal(answer.status, 200, answer.text);
      return JSON.parse(answer.text);
    },
    poll: (id, options) => request('GET', query(id), options),
    post: (id, body, options) => request('POST', query(id), { body, ...options }),
    delete: (id) => request('DELETE', query(id)),
    /** Opens a stream of events; `text` grows as they come. */
    async listen(id) {
      const controller = new AbortController();
      const response = await fetch(`${world.hubUrl()}${query(id)}`, {
        headers: { ...ownHeaders(), accept: 'text/event-stream' },
        signal: controller.signal,
      });
      const stream = { status: response.status, headers: response.headers, text: '', hasEnded: false, abort: () => controller.abort() };
      const read = async () => {
        for await (const chunk of response.body) stream.text += Buffer.from(chunk).toString();
      };
      const reading = read().catch(() => {}).finally(() => (stream.hasEnded = true));
      if (!response.ok) await reading;
      stream.says = (text) => eventually(`the stream says ${text}`, () => assert.ok(stream.text.includes(text), stream.text));
      stream.ends = () => eventually('the stream ends', () => assert.ok(stream.hasEnded));
      return stream;
    },
  };
}
