import { el, setAttributes, setText } from '../dom.js';
import { TRANSPORTS } from '../transport.js';

const PHASE_TEXTS = {
  connecting: (name) => `Connecting over ${name}…`,
  resuming: (name) => `Catching up over ${name}…`,
  online: (name) => `Connected over ${name}`,
  lost: (name) => `No connection over ${name}`,
};

/** Says in small print what the connection runs over, and whether it is up. */
export function renderTransportStatus({ state }, attributes = {}) {
  const element = el('p', { class: 'transport-status', ...attributes });

  function update() {
    const { phase } = state.connection;
    setText(element, PHASE_TEXTS[phase]?.(TRANSPORTS[state.transport].label) ?? '');
    setAttributes(element, { 'data-phase': phase, 'data-transport': state.transport });
  }

  const stop = state.on('connection', update);
  update();
  return { element, stop };
}

/** The choice of what the connection runs over. */
export function renderTransportChoice(client) {
  const { state } = client;
  const options = Object.entries(TRANSPORTS).map(([id, { label }]) => el('option', { value: id, selected: id === state.transport }, label));
  return el('select', { 'aria-label': 'Connect over', onchange: ({ target }) => client.useTransport(target.value) }, options);
}
