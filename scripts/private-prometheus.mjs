// A Prometheus of one's own: Debian's prometheus on 127.0.0.1, its data in one directory, scraping one address each second.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, PrivateService } from './private-service.mjs';

export class PrivatePrometheus {
  #service;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
    try {
      execFileSync('sh', ['-c', 'command -v prometheus']);
      return undefined;
    } catch {
      return 'needs prometheus (apt-get install --no-install-recommends prometheus)';
    }
  }

  /** The directory exists, and is the caller's to remove. `target` is a URL. */
  static async start(directory, target) {
    const listen = `127.0.0.1:${await freePort()}`;
    const config = join(directory, 'prometheus.yml');
    const { host, pathname } = new URL(target);
    writeFileSync(
      config,
      `global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - { job_name: node-compute, metrics_path: ${pathname}, static_configs: [{ targets: ['${host}'] }] }
`,
      { mode: 0o600 },
    );
    const service = await PrivateService.start({
      name: 'prometheus',
      args: [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=${listen}`,
      ],
      directory,
      url: `http://${listen}/-/ready`,
    });
    return new PrivatePrometheus(`http://${listen}`, service);
  }

  constructor(url, service) {
    this.url = url;
    this.#service = service;
  }

  /** Labels and value of each series that the expression gives now. */
  async query(expression) {
    const response = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const { status, data, error } = await response.json();
    if (status !== 'success') throw new Error(`${expression}: ${error}`);
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  }

  async stop() {
    await this.#service.stop();
  }
}
