import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { AmqpBroker } from '../../../src/agent/amqp-broker.js';
import { parseTransportUrl } from '../../../src/agent/transport-url.js';

const plain = { caFile: undefined, certFile: undefined, keyFile: undefined };

describe('a transport URL', () => {
  it('names hosts in turn, each with its own credentials', () => {
    expect(parseTransportUrl('rabbit://nova:p%40ss%3A%2F@h1:5673,other:x@h2,h3/cloud%2F1')).toEqual({
      hosts: [
        { hostname: 'h1', port: 5673, credentials: { username: 'nova', password: 'p@ss:/' } },
        { hostname: 'h2', port: 5672, credentials: { username: 'other', password: 'x' } },
        { hostname: 'h3', port: 5672, credentials: undefined },
      ],
      virtualHost: 'cloud/1',
      tls: false,
      ...plain,
    });
  });

  it.each([
    ['rabbit://', [{ hostname: 'localhost', port: 5672 }], '/', false],
    ['amqp://h/', [{ hostname: 'h', port: 5672 }], '/', false],
    ['rabbit://h//', [{ hostname: 'h', port: 5672 }], '/', false],
    ['amqps://h', [{ hostname: 'h', port: 5671 }], '/', true],
    ['rabbit://h:1/v?ssl=True', [{ hostname: 'h', port: 1 }], 'v', true],
    [
      'rabbit://[::1]:5673,[fe80::2]',
      [
        { hostname: '::1', port: 5673 },
        { hostname: 'fe80::2', port: 5672 },
      ],
      '/',
      false,
    ],
  ])('%s', (url, hosts, virtualHost, tls) => {
    expect(parseTransportUrl(url)).toMatchObject({ hosts, virtualHost, tls });
  });

  it('names the files of TLS', () => {
    const url = 'rabbit://h/?ssl=1&ssl_ca_file=/ca.pem&ssl_cert_file=/c.pem&ssl_key_file=/k.pem';
    expect(parseTransportUrl(url)).toMatchObject({
      caFile: '/ca.pem',
      certFile: '/c.pem',
      keyFile: '/k.pem',
    });
  });

  it.each([
    'http://u:sesame@h/',
    'rabbit://u:sesame@h:0/',
    'rabbit://u:sesame@h:99999/',
    'rabbit://u:sesame@::1/',
    'rabbit://u:sesame%ff@h/',
    'rabbit://u:sesame@h:12x/',
    'sesame',
  ])('%s is refused, and not repeated', (url) => {
    let error: unknown;
    try {
      parseTransportUrl(url);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(inspect(error)).not.toContain('sesame');
  });
});

it('a broker that cannot be reached tells so without the password, and gives up when it is closed', async () => {
  const states: unknown[] = [];
  const broker = new AmqpBroker({
    url: 'rabbit://nova:sesame@127.0.0.1:1,nova:sesame@[::1]:1/',
    reconnect: { firstMs: 5, mostMs: 20 },
    onState: (state) => states.push(state),
  });
  const waiting = broker.publish({ key: 'k', body: Buffer.from('') });
  const consuming = broker.consume({ name: 'q' }, { prefetch: 1, onDelivery: () => undefined });
  const aborted = broker.publish({ key: 'k', body: Buffer.from('') }, AbortSignal.timeout(50));
  await expect(aborted).rejects.toMatchObject({ name: 'TimeoutError' });
  await expect.poll(() => states.length).toBeGreaterThan(3);
  await broker.close();
  await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(consuming).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(broker.publish({ key: 'k', body: Buffer.from('') })).rejects.toMatchObject({ code: 'CLOSED' });
  expect(states).toContainEqual({
    state: 'disconnected',
    host: '127.0.0.1:1',
    error: expect.objectContaining({ code: 'CONNECTION_FAILED', retryable: true }),
  });
  expect(states).toContainEqual(expect.objectContaining({ host: '[::1]:1' }));
  expect(inspect([states, broker], { depth: 10, showHidden: true })).not.toContain('sesame');
});
