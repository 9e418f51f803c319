// The checks of doctor on hosts that this one is not.
import { describe, expect, it } from 'vitest';
import { checkKvmAccess, checkQemuUser } from '../../../src/cli/doctor/kvm.js';
import { checkFilterPrograms, checkNetwork, kernelFindings } from '../../../src/cli/doctor/network.js';
import { checkMkfs, checkNode } from '../../../src/cli/doctor/software.js';
import { checkStorage } from '../../../src/cli/doctor/storage.js';

const subject = { instancesPath: '/nonexistent/instances', root: '/nonexistent/root', embedded: true };
const user = { name: 'libvirt-qemu', uid: 64055, gid: 105 };

describe('doctor', () => {
  it('refuses a Node.js that is too old and takes a newer one', () => {
    expect(checkNode('18.20.4')[0]?.verdict).toBe('problem');
    expect(checkNode('20.16.0')[0]?.verdict).toBe('problem');
    expect(checkNode('20.17.0')[0]?.verdict).toBe('ok');
    expect(checkNode('26.1.0')[0]?.verdict).toBe('ok');
  });

  it('warns of a /dev/kvm that only root may open, with the command that mends it', () => {
    const [finding] = checkKvmAccess(subject, user, { mode: 0o600, uid: 0, gid: 0 }, '');
    expect(finding?.verdict).toBe('warning');
    expect(finding?.mend).toContain('chmod 660 /dev/kvm');
  });

  it('is content when the user, its group, a further group of it or everybody may open /dev/kvm', () => {
    const may = (mode: number, uid: number, gid: number, groups = ''): string | undefined =>
      checkKvmAccess(subject, user, { mode, uid, gid }, groups)[0]?.verdict;
    expect(may(0o600, 64055, 0)).toBe('ok');
    expect(may(0o660, 0, 105)).toBe('ok');
    expect(may(0o660, 0, 36, 'root:x:0:\nkvm:x:36:alice,libvirt-qemu\n')).toBe('ok');
    expect(may(0o666, 0, 0)).toBe('ok');
    expect(may(0o660, 0, 36, 'kvm:x:36:alice\n')).toBe('warning');
    expect(may(0o640, 0, 105)).toBe('warning');
  });

  it('finds the missing user a problem for the embedded driver and a warning for a daemon', () => {
    expect(checkQemuUser(subject, null)[0]?.verdict).toBe('problem');
    expect(checkQemuUser({ ...subject, embedded: false }, null)[0]?.verdict).toBe('warning');
    expect(checkQemuUser(subject, user, false)[0]?.verdict).toBe('ok');
    expect(checkQemuUser(subject, user, true)[0]).toMatchObject({
      verdict: 'problem',
      message: expect.stringContaining('group libvirt-qemu'),
    });
  });

  it('reads the right to make bridges from the effective capabilities', () => {
    expect(checkNetwork('CapEff:\t0000000000001000\n')[0]?.verdict).toBe('ok');
    expect(checkNetwork('CapEff:\t0000000000000fff\n')[0]?.verdict).toBe('warning');
  });

  it('tells what the kernel lacks for networks, and what brings it', () => {
    const verdicts = (features: Parameters<typeof kernelFindings>[0]) =>
      kernelFindings(features).map(({ check, verdict }) => [check, verdict]);
    const all = { bridge: true, vlan: true, bridgeVlanFiltering: true };
    expect(verdicts(all).map(([, verdict]) => verdict)).toEqual(['ok', 'ok', 'ok']);
    expect(verdicts({ bridge: false, vlan: false, bridgeVlanFiltering: false })).toEqual([
      ['bridge', 'problem'],
      ['802.1Q', 'warning'],
      ['bridge VLANs', 'warning'],
    ]);
    const mends = kernelFindings({ ...all, vlan: false }).map(({ mend }) => mend);
    expect(mends).toEqual([undefined, expect.stringContaining('modprobe 8021q'), undefined]);
    expect(verdicts(undefined)).toEqual([['kernel network', 'warning']]);
  });

  it('looks for the programs of network filters where a daemon would use them', () => {
    expect(checkFilterPrograms({ embedded: true }, '/nonexistent')).toEqual([]);
    expect(checkFilterPrograms({ embedded: false }, '/nonexistent')).toMatchObject([
      { check: 'ebtables', verdict: 'warning', mend: expect.stringContaining('apt-get install ebtables') },
      { check: 'iptables', verdict: 'warning' },
    ]);
  });

  it('warns of a missing mkfs, with the package that brings it', () => {
    const findings = checkMkfs('/nonexistent');
    expect(findings.map(({ check, verdict }) => [check, verdict])).toEqual([
      ['mkfs.ext4', 'warning'],
      ['mkfs.vfat', 'warning'],
    ]);
    expect(findings.map(({ mend }) => mend)).toEqual([
      expect.stringContaining('apt-get install e2fsprogs'),
      expect.stringContaining('apt-get install dosfstools'),
    ]);
  });

  it('looks at the nearest directory that exists', async () => {
    const findings = await checkStorage(subject);
    expect(findings.find(({ check }) => check === 'disk')?.message).toContain('/nonexistent/instances');
  });
});
