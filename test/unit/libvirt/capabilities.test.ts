import { expect, it } from 'vitest';
import { FakeDriver } from '../../../src/index.js';
import { cpuFeatures, enumOf, parseCapabilities, parseCpuList } from '../../../src/libvirt/capabilities.js';
import { parsePciDevice } from '../../../src/libvirt/pci-devices.js';
import { traitsOf } from '../../../src/libvirt/traits.js';

const XML = `<capabilities>
  <host>
    <uuid>u</uuid>
    <cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor><topology sockets='1' dies='1' cores='2' threads='2'/>
      <feature name='ht'/><feature name='avx2'/><pages unit='KiB' size='4'/></cpu>
    <topology><cells num='2'>
      <cell id='0'><memory unit='KiB'>1048576</memory><pages unit='KiB' size='2048'>0</pages><cpus num='2'>
        <cpu id='0' socket_id='0' die_id='0' core_id='0' siblings='0,2'/>
        <cpu id='2' socket_id='0' die_id='0' core_id='0' siblings='0,2'/></cpus></cell>
      <cell id='1'><memory unit='KiB'>2097152</memory><cpus num='2'>
        <cpu id='1' socket_id='1' die_id='0' core_id='0' siblings='1,3'/>
        <cpu id='3' socket_id='1' die_id='0' core_id='0' siblings='1,3'/></cpus></cell>
    </cells></topology>
  </host>
  <guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize>
    <machine maxCpus='255'>pc</machine><machine maxCpus='288'>a-q35</machine>
    <domain type='qemu'/><domain type='kvm'><machine>pc</machine></domain></arch></guest>
  <guest><os_type>exe</os_type><arch name='i686'><domain type='lxc'/></arch></guest>
</capabilities>`;

it("reads the CPU, the cells with their cores, and the guests of libvirt's capabilities", () => {
  const told = parseCapabilities(XML);
  expect(told.vendor).toBe('AMD');
  expect(told.features).toEqual(['avx2', 'ht']);
  expect(told.cells).toEqual([
    { id: 0, memoryKib: 1048576, cpus: [0, 2], siblings: [[0, 2]] },
    { id: 1, memoryKib: 2097152, cpus: [1, 3], siblings: [[1, 3]] },
  ]);
  expect(told.guests).toEqual([
    { architecture: 'x86_64', domainType: 'qemu', machines: ['a-q35', 'pc'] },
    { architecture: 'x86_64', domainType: 'kvm', machines: ['pc'] },
  ]);
});

it('reads nothing from capabilities that hold nothing', () => {
  expect(parseCapabilities('<capabilities/>')).toEqual({
    cpu: undefined,
    vendor: '',
    features: [],
    cells: [],
    guests: [],
  });
  expect(cpuFeatures('')).toEqual([]);
});

it('reads lists of CPUs', () => {
  expect(parseCpuList('0-3,8,10-11\n')).toEqual([0, 1, 2, 3, 8, 10, 11]);
  expect(parseCpuList('')).toEqual([]);
});

it('reads a PCI device, with and without a driver, a cell and a group', () => {
  const uevent = 'DRIVER=ixgbevf\nPCI_CLASS=20000\nPCI_ID=8086:10ED\nPCI_SLOT_NAME=0000:03:10.0\n';
  expect(parsePciDevice('0000:03:10.0', uevent, '1\n', 42)).toEqual({
    address: '0000:03:10.0',
    vendorId: '8086',
    productId: '10ed',
    class: '020000',
    numaNode: 1,
    driver: 'ixgbevf',
    iommuGroup: 42,
  });
  expect(parsePciDevice('a', 'PCI_CLASS=60000\nPCI_ID=8086:0D57\n', '-1\n', undefined)).toMatchObject({
    numaNode: undefined,
    driver: undefined,
    iommuGroup: undefined,
  });
  expect(parsePciDevice('a', '', '', undefined)).toBeUndefined();
});

it('derives traits from the CPU, the driver and the hypervisor, and of another architecture none of x86', () => {
  const domainCapabilities = `<domainCapabilities><devices>
    <disk supported='yes'><enum name='diskDevice'><value>disk</value></enum>
      <enum name='bus'><value>virtio</value><value>fdc</value></enum></disk>
    <video supported='yes'><enum name='modelType'><value>vga</value></enum></video></devices></domainCapabilities>`;
  expect(enumOf(domainCapabilities, 'disk', 'bus')).toEqual(['virtio', 'fdc']);
  const { capabilities } = new FakeDriver();
  const sources = { cpuFeatures: ['avx2', 'sse4.1', 'svm', 'unknown'], capabilities, domainCapabilities };
  const traits = traitsOf({ ...sources, architecture: 'x86_64' });
  expect(traits).toEqual(traits.toSorted());
  expect(traits).toEqual(
    expect.arrayContaining([
      'COMPUTE_GRAPHICS_MODEL_VGA',
      'COMPUTE_IMAGE_TYPE_QCOW2',
      'COMPUTE_NET_ATTACH_INTERFACE',
      'COMPUTE_STORAGE_BUS_VIRTIO',
      'HW_CPU_X86_AMD_SVM',
      'HW_CPU_X86_AVX2',
      'HW_CPU_X86_SSE41',
      'HW_CPU_X86_SVM',
    ]),
  );
  expect(traits).not.toContain('COMPUTE_STORAGE_BUS_FDC');
  const other = traitsOf({
    ...sources,
    architecture: 'aarch64',
    capabilities: { ...capabilities, attachInterface: false },
  });
  expect(other.filter((trait) => trait.startsWith('HW_CPU_X86'))).toEqual([]);
  expect(other).not.toContain('COMPUTE_NET_ATTACH_INTERFACE');
});
