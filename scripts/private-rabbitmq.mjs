// A RabbitMQ of one's own: Debian's rabbitmq-server on 127.0.0.1 with its own node, port mapper, cookie and data.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Not the one in /usr/sbin, which changes to the user rabbitmq and reads /etc/rabbitmq. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const START_MS = 120_000;
const STOP_MS = 20_000;

export class PrivateRabbitmq {
  #directory;
  #environment;
  #ports;
  #mapper;
  #server;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
    try {
      execFileSync('sh', ['-c', `test -x ${SERVER} && command -v epmd`]);
      return undefined;
    } catch {
      return 'needs rabbitmq-server (apt-get install --no-install-recommends rabbitmq-server)';
    }
  }

  /**
   * The directory exists, and is the caller's to remove. `tls` are the paths of ca, cert and key of a second listener,
   * `heartbeatSeconds` what it wants of its clients.
   */
  static async start(directory, { tls, heartbeatSeconds = 60 } = {}) {
    const [amqp, amqps, distribution, mapper] = await freePorts(4);
    const rabbitmq = new PrivateRabbitmq(directory, { amqp, amqps, distribution, mapper });
    rabbitmq.#configure(tls, heartbeatSeconds);
    try {
      await rabbitmq.start();
    } catch (error) {
      await rabbitmq.stop();
      throw error;
    }
    return rabbitmq;
  }

  constructor(directory, ports) {
    this.#directory = directory;
    this.#ports = ports;
    this.port = ports.amqp;
    this.tlsPort = ports.amqps;
    this.url = `rabbit://guest:guest@127.0.0.1:${ports.amqp}/`;
  }

  /** Again after `kill` or `halt`, on the same ports. */
  async start() {
    const log = openSync(join(this.#directory, 'output.log'), 'a', 0o600);
    const options = {
      cwd: this.#directory,
      env: this.#environment,
      detached: true,
      stdio: ['ignore', log, log],
    };
    this.#mapper ??= started('epmd', ['-port', String(this.#ports.mapper)], options);
    this.#server = started(SERVER, [], options);
    const end = performance.now() + START_MS;
    while (!(await answers(this.#ports.amqp))) {
      if (this.#server.hasEnded()) throw new Error(`rabbitmq-server ended: ${this.#log()}`);
      if (performance.now() > end) throw new Error(`rabbitmq-server does not answer: ${this.#log()}`);
      await sleep(100);
    }
  }

  /** As an operator stops it: connections are closed with a reason, messages that are not durable are gone. */
  async halt() {
    const timer = setTimeout(() => this.#server?.signal('SIGKILL'), STOP_MS);
    this.#server?.signal('SIGTERM');
    await this.#server?.exited;
    clearTimeout(timer);
  }

  /** kill -9; resolves when it is gone. */
  async kill() {
    this.#server?.signal('SIGKILL');
    await this.#server?.exited;
  }

  /** It answers nothing and closes nothing, as a host that hangs. */
  freeze() {
    this.#server?.signal('SIGSTOP');
  }

  thaw() {
    this.#server?.signal('SIGCONT');
  }

  /** Ends all of it. Idempotent. */
  async stop() {
    await this.kill();
    this.#mapper?.signal('SIGKILL');
    await this.#mapper?.exited;
  }

  #configure(tls, heartbeatSeconds) {
    const directory = this.#directory;
    const { amqp, amqps, distribution, mapper } = this.#ports;
    for (const name of ['home', 'mnesia', 'log'])
      mkdirSync(join(directory, name), { recursive: true, mode: 0o700 });
    const secure = tls && [
      `listeners.ssl.default = 127.0.0.1:${amqps}`,
      `ssl_options.cacertfile = ${tls.ca}`,
      `ssl_options.certfile = ${tls.cert}`,
      `ssl_options.keyfile = ${tls.key}`,
    ];
    const lines = [
      `listeners.tcp.default = 127.0.0.1:${amqp}`,
      `heartbeat = ${heartbeatSeconds}`,
      'log.console = true',
      'log.console.level = warning',
      ...(secure ?? []),
    ];
    writeFileSync(join(directory, 'rabbitmq.conf'), `${lines.join('\n')}\n`);
    writeFileSync(join(directory, 'enabled_plugins'), '[].\n');
    this.#environment = {
      PATH: process.env.PATH,
      LC_ALL: 'C.UTF-8',
      HOME: join(directory, 'home'),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(mapper),
      RABBITMQ_NODENAME: `node-compute-${amqp}@localhost`,
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
      RABBITMQ_MNESIA_BASE: join(directory, 'mnesia'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none',
    };
  }

  #log() {
    return readFileSync(join(this.#directory, 'output.log'), 'utf8').slice(-2000);
  }
}

/** In a process group of its own: its helpers end with it. */
function started(command, args, options) {
  const child = spawn(command, args, options);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  return {
    hasEnded,
    exited: new Promise((resolve) => {
      child.once('exit', resolve);
      child.once('error', resolve);
    }),
    signal: (name) => {
      if (!hasEnded()) process.kill(-child.pid, name);
    },
  };
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** All of them held until each is known, so that they differ. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = [];
  for (const server of servers) {
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push(server.address().port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
