// The text of the view "Filter transactions".

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { age, Answer, rows } from '../src/rows';

const transaction = (further: object) => ({
  name: 'GET /a #17', filter: 'token', client: '127.0.0.1:5000', state: 'stopped',
  detail: 'stopped in proxy_on_request_headers', ageMs: 1540, ...further,
}) as Answer['transactions'][0];

test('a request has its state, its age and more behind it', () => {
  assert.deepEqual(rows({ transactions: [transaction({})], fastLane: 3 }), [
    {
      label: 'GET /a #17',
      description: 'stopped in proxy_on_request_headers, 1.5 s',
      tooltip: 'GET /a #17\nfilter token\nclient 127.0.0.1:5000\nstopped in proxy_on_request_headers',
      icon: 'debug-stackframe-dot',
    },
    { label: '3 more in flight, not debugged', icon: 'arrow-swap' },
  ]);
});

test('requests come in the order of the adapter, each state with an icon of its own', () => {
  const states = ['running', 'stopped', 'queued', 'paused', 'proxy'];
  const shown = rows({ transactions: states.map((state, index) => transaction({ state, name: `${index}` })), fastLane: 0 });
  assert.deepEqual(shown.slice(0, -1).map(row => row.label), ['0', '1', '2', '3', '4']);
  assert.equal(new Set(shown.map(row => row.icon)).size, states.length + 1);
  assert.ok(shown.every(row => row.icon));
});

test('without a request in the debugger the view is empty and says what to do', () => {
  assert.deepEqual(rows({ transactions: [], fastLane: 12 }), []);
});

test('ages', () => {
  assert.deepEqual([0, 99, 1999, 59_999, 60_000, 187_000, 3_661_000].map(age),
    ['0.0 s', '0.0 s', '1.9 s', '59.9 s', '1 min 0 s', '3 min 7 s', '61 min 1 s']);
});
