const ROOT = '/api/v1';
const TIMEOUT_MS = 15_000;

/** An error answer (RFC 9457), or the absence of an answer with the code `network`. */
export class Problem extends Error {
  constructor({ status = 0, code = 'network', title, detail, errors = [], retryAfter }) {
    super(detail || title || 'The server could not be reached.');
    Object.assign(this, { name: 'Problem', status, code, errors, retryAfter });
  }

  /** Whether the same request may succeed later without being changed. */
  get isTransient() {
    return ['network', 'unavailable', 'rateLimited'].includes(this.code) || this.status >= 500;
  }

  /** How many milliseconds the server asks to wait. */
  get waitMs() {
    return this.retryAfter ? this.retryAfter * 1000 : 1000;
  }
}

/** The REST door. `onUnauthenticated` is told when the session no longer counts. */
export function createApi(token, onUnauthenticated = () => {}) {
  async function request(method, path, body) {
    const headers = { accept: 'application/json' };
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const response = await send(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
    if (response.ok) return [202, 204].includes(response.status) ? null : response.json();
    const problem = await readProblem(response);
    if (token && problem.code === 'unauthenticated') onUnauthenticated();
    throw problem;
  }

  return {
    get: (path, query) => request('GET', path + toQuery(query)),
    post: (path, body = {}) => request('POST', path, body),
    put: (path, body = {}) => request('PUT', path, body),
    patch: (path, body) => request('PATCH', path, body),
    delete: (path, body) => request('DELETE', path, body),

    /** All pages of a list, as one array. */
    async all(path, query = {}) {
      const items = [];
      let cursor;
      do {
        const page = await request('GET', path + toQuery({ limit: 200, ...query, cursor }));
        items.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor);
      return items;
    },
  };
}

async function send(path, init) {
  try {
    return await fetch(ROOT + path, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Problem({});
  }
}

async function readProblem(response) {
  const retryAfter = Number(response.headers.get('retry-after')) || undefined;
  const body = await response.json().catch(() => ({}));
  return new Problem({ code: `http${response.status}`, ...body, status: response.status, retryAfter });
}

function toQuery(query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value != null);
  return pairs.length ? `?${new URLSearchParams(pairs)}` : '';
}
