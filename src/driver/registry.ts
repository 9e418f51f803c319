// Drivers by name, as Nova's `compute_driver` option names them; a third party registers its own.
import type { ComputeDriver } from './compute-driver.js';
import { ComputeError } from './errors.js';

/** Makes a driver that is not connected yet; `options` is the driver's own affair and is validated by it. */
export type DriverFactory = (options: unknown) => ComputeDriver | Promise<ComputeDriver>;

const factories = new Map<string, DriverFactory>();

/** Registers a driver under `family.ClassName`. A name can be taken once. */
export function registerDriver(name: string, factory: DriverFactory): void {
  if (!/^[a-z][a-z0-9_]*\.[A-Z][A-Za-z0-9]*$/.test(name)) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `driver name ${JSON.stringify(name)} is not of the form family.ClassName`,
    );
  }
  if (factories.has(name)) {
    throw new ComputeError('INVALID_ARGUMENT', `a driver named ${name} is registered already`);
  }
  factories.set(name, factory);
}

export function registeredDrivers(): string[] {
  return [...factories.keys()].sort();
}

/** Makes the driver of that name. Rejects with `DRIVER_UNKNOWN` and the names there are. */
export async function loadDriver(name: string, options: unknown = {}): Promise<ComputeDriver> {
  const factory = factories.get(name);
  if (!factory) {
    throw new ComputeError(
      'DRIVER_UNKNOWN',
      `no driver is named ${JSON.stringify(name)}; there are: ${registeredDrivers().join(', ')}`,
    );
  }
  return await factory(options);
}
