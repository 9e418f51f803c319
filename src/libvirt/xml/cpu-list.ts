// Lists of CPUs as libvirt writes them.

/** `[0, 1, 2, 5]` as `0-2,5`. */
export function cpuList(cpus: readonly number[]): string {
  const sorted = [...new Set(cpus)].sort((a, b) => a - b);
  const ranges: string[] = [];
  for (let index = 0; index < sorted.length; ) {
    let last = index;
    while (sorted[last + 1] === (sorted[last] ?? 0) + 1) last++;
    ranges.push(last === index ? `${sorted[index]}` : `${sorted[index]}-${sorted[last]}`);
    index = last + 1;
  }
  return ranges.join(',');
}
