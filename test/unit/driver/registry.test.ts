// Drivers are found by name, and a name means one driver.
import { describe, expect, it } from 'vitest';
import { FakeDriver, loadDriver, registerDriver, registeredDrivers } from '../../../src/index.js';

describe('the registry of drivers', () => {
  it('has ours from the start, and loading the package has loaded no addon', () => {
    expect(registeredDrivers()).toEqual(['fake.FakeDriver', 'libvirt.LibvirtDriver']);
    const libraries = (process.report.getReport() as unknown as { sharedObjects: string[] }).sharedObjects;
    expect(libraries.filter((path) => path.includes('node_compute.node'))).toEqual([]);
  });

  it('makes a driver with its options', async () => {
    const driver = await loadDriver('fake.FakeDriver', {});
    expect(driver).toBeInstanceOf(FakeDriver);
    expect(driver.name).toBe('fake.FakeDriver');
  });

  it('names those there are for one there is not', async () => {
    await expect(loadDriver('xen.XenDriver')).rejects.toMatchObject({
      code: 'DRIVER_UNKNOWN',
      message: expect.stringContaining('fake.FakeDriver, libvirt.LibvirtDriver'),
    });
  });

  it('takes a third party once', async () => {
    registerDriver('acme.AcmeDriver', () => new FakeDriver());
    expect(registeredDrivers()).toContain('acme.AcmeDriver');
    expect(() => registerDriver('acme.AcmeDriver', () => new FakeDriver())).toThrow(/already/);
    for (const name of ['acme', 'acme.', 'Acme.Driver', 'acme.driver', '../acme.Driver', 'acme.Driver\n']) {
      expect(() => registerDriver(name, () => new FakeDriver())).toThrow(/family\.ClassName/);
    }
  });
});
