// Where the broker is: oslo.messaging's transport_url, `rabbit://user:password@host1:5672,user:password@host2/vhost`.
import { ComputeError } from '../driver/errors.js';

export interface BrokerHost {
  readonly hostname: string;
  readonly port: number;
  /** Undefined: those of the option `credentials`, or else guest, as RabbitMQ ships it. */
  readonly credentials: Credentials | undefined;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface TransportUrl {
  readonly hosts: readonly BrokerHost[];
  readonly virtualHost: string;
  readonly tls: boolean;
  /** Paths, of the query's `ssl_ca_file`, `ssl_cert_file` and `ssl_key_file`. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

const PORT = 5672;
const TLS_PORT = 5671;

/**
 * Schemes: `rabbit`, `amqp`, `amqps` (TLS, as `?ssl=1` is). Names and passwords are percent-encoded; the virtual host is
 * `/` where none is named. Throws `INVALID_ARGUMENT`, whose message repeats nothing of the URL: it holds a password.
 */
export function parseTransportUrl(url: string): TransportUrl {
  const match = /^(rabbit|amqps?):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url);
  if (!match)
    throw invalid('must begin with rabbit://, amqp:// or amqps://, then hosts, /virtual-host and ?query');
  const [, scheme, netloc = '', path = '', query = ''] = match;
  const options = new URLSearchParams(query);
  const tls =
    scheme === 'amqps' || ['1', 'true', 'yes', 'on'].includes(options.get('ssl')?.toLowerCase() ?? '');
  const virtualHost = unquote(path) || '/';
  return {
    hosts: netloc.split(',').map((host) => parseHost(host, tls ? TLS_PORT : PORT)),
    virtualHost,
    tls,
    caFile: options.get('ssl_ca_file') ?? undefined,
    certFile: options.get('ssl_cert_file') ?? undefined,
    keyFile: options.get('ssl_key_file') ?? undefined,
  };
}

function parseHost(text: string, defaultPort: number): BrokerHost {
  const at = text.lastIndexOf('@');
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text.slice(at + 1));
  const port = Number(match?.[3] ?? defaultPort);
  if (!match || port < 1 || port > 65535)
    throw invalid('has a host that is not HOST, HOST:PORT or [IPV6]:PORT');
  return {
    hostname: match[1] ?? (match[2] || 'localhost'),
    port,
    credentials: at < 0 ? undefined : parseCredentials(text.slice(0, at)),
  };
}

function parseCredentials(text: string): Credentials {
  const colon = text.indexOf(':');
  return colon < 0
    ? { username: unquote(text), password: '' }
    : { username: unquote(text.slice(0, colon)), password: unquote(text.slice(colon + 1)) };
}

function unquote(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('has a part that is not percent-encoded as UTF-8');
  }
}

function invalid(what: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', `the transport URL ${what}`, {
    operation: 'connect to the broker',
  });
}
