/** `crypto.randomUUID` exists only on secure origins; a server reached by plain HTTP over a LAN isn't one. */
export function newClientId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
