// node-compute domain-xml: the document that libvirt would be given. Starts nothing, needs no libvirt.
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { ComputeError } from '../../driver/errors.js';
import { parseDomainSpec } from '../../libvirt/domain-spec.js';
import { domainXml } from '../../libvirt/xml/domain.js';
import { action } from '../command.js';
import { withOutputOptions } from '../node-options.js';

/** A specification is a few KiB. */
const MOST_BYTES = 1 << 20;

export function domainXmlCommand(): Command {
  return withOutputOptions(
    new Command('domain-xml')
      .description('print the domain XML of a JSON specification (docs/domain-xml.md); starts nothing')
      .argument('<spec>', 'path of the specification; - reads standard input'),
  ).action(
    action(async ({ output }, path: string) => {
      const { instance, host } = parseDomainSpec(parseJson(await readSpec(path), path));
      const xml = domainXml(instance, host);
      output.result({ xml }, xml);
    }),
  );
}

async function readSpec(path: string): Promise<string> {
  try {
    const bytes = path === '-' ? await readStandardInput() : await readFile(path);
    if (bytes.length > MOST_BYTES) {
      throw new ComputeError('INVALID_ARGUMENT', `${path} is larger than a specification may be (1 MiB)`);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    if (ComputeError.is(cause)) throw cause;
    throw new ComputeError('INVALID_ARGUMENT', `${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function readStandardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MOST_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ComputeError('INVALID_ARGUMENT', `${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
}
