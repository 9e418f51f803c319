// Sockets, cores and threads: Nova's choice among all products that give the number of vCPUs.
import { inconsistent } from './rule.js';
import { lowered, type Terms } from './terms.js';

export interface CpuTopology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

type Wish = { readonly [K in keyof CpuTopology]: number | undefined };

/**
 * The topology nearest to what image or flavor prefer, within their limits. A preference is a wish as in Nova: where it
 * does not fit the number of vCPUs the nearest one that does is taken; limits that leave none are refused.
 */
export function cpuTopology(terms: Terms, vcpus: number): CpuTopology {
  const limit: Wish = {
    sockets: lowered(terms, 'hw:cpu_max_sockets', 'hw_cpu_max_sockets'),
    cores: lowered(terms, 'hw:cpu_max_cores', 'hw_cpu_max_cores'),
    threads: lowered(terms, 'hw:cpu_max_threads', 'hw_cpu_max_threads'),
  };
  const wish = preferred(terms, limit);
  let best: CpuTopology | undefined;
  let bestScore = -1;
  for (const candidate of products(vcpus)) {
    if (exceeds(candidate, limit)) continue;
    const score = matches(candidate, wish);
    if (score > bestScore) {
      best = candidate;
      bestScore = score;
    }
  }
  if (best) return best;
  const text = `${limit.sockets ?? 'any'}:${limit.cores ?? 'any'}:${limit.threads ?? 'any'}`;
  throw inconsistent(
    'hw:cpu_max_sockets, hw:cpu_max_cores, hw:cpu_max_threads',
    text,
    `no topology gives ${vcpus} vCPUs`,
  );
}

function preferred({ flavor, image }: Terms, limit: Wish): Wish {
  const ofImage: Wish = {
    sockets: image.hw_cpu_sockets,
    cores: image.hw_cpu_cores,
    threads: image.hw_cpu_threads,
  };
  if (Object.values(ofImage).some((count) => count !== undefined)) {
    if (exceeds(ofImage, limit)) {
      const text = `${ofImage.sockets ?? '-'}:${ofImage.cores ?? '-'}:${ofImage.threads ?? '-'}`;
      throw inconsistent('hw_cpu_sockets, hw_cpu_cores, hw_cpu_threads', text, 'more than the limits allow');
    }
    return ofImage;
  }
  const ofFlavor: Wish = {
    sockets: flavor['hw:cpu_sockets'],
    cores: flavor['hw:cpu_cores'],
    threads: flavor['hw:cpu_threads'],
  };
  // An image that lowers the limits makes the flavor's wish void, not the launch.
  return exceeds(ofFlavor, limit) ? { sockets: undefined, cores: undefined, threads: undefined } : ofFlavor;
}

function exceeds(topology: Wish, limit: Wish): boolean {
  const over = (value: number | undefined, max: number | undefined): boolean =>
    value !== undefined && max !== undefined && value > max;
  return (
    over(topology.sockets, limit.sockets) ||
    over(topology.cores, limit.cores) ||
    over(topology.threads, limit.threads)
  );
}

function matches(topology: CpuTopology, wish: Wish): number {
  return (
    Number(topology.sockets === wish.sockets) +
    Number(topology.cores === wish.cores) +
    Number(topology.threads === wish.threads)
  );
}

/** Every product, fewest threads first, then most sockets. */
function products(vcpus: number): CpuTopology[] {
  const divisors = Array.from({ length: vcpus }, (_, index) => index + 1).filter(
    (count) => vcpus % count === 0,
  );
  return divisors.flatMap((threads) =>
    divisors
      .filter((cores) => (vcpus / threads) % cores === 0)
      .map((cores) => ({ sockets: vcpus / threads / cores, cores, threads })),
  );
}
