// Boots the guest image under emulation and checks what README.md promises. Usage: node test/guest/verify.mjs [IMAGE [CHECK]]
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const image = resolve(
  process.argv[2] ?? fileURLToPath(new URL('../../build/guest/guest.qcow2', import.meta.url)),
);
const deadlineMs = 120_000;
const gib = 1024 ** 3;
const scratch = mkdtempSync(join(tmpdir(), 'guest-verify-'));
const running = new Set();
let names = 0;

class Guest {
  output = '';
  #waiters = new Set();

  constructor(machine, args, overlay) {
    this.startedMs = performance.now();
    this.monitorPath = join(scratch, `monitor-${names++}`);
    this.process = spawn(
      'qemu-system-x86_64',
      ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-machine', machine, '-serial', 'stdio']
        .concat(['-monitor', `unix:${this.monitorPath},server=on,wait=off`])
        .concat(overlay ? ['-drive', `file=${overlay},format=qcow2,if=none,id=root`] : [], args),
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    this.process.stdout.setEncoding('utf8').on('data', (text) => {
      this.output += text;
      for (const wake of this.#waiters) wake();
    });
    running.add(this.process);
    this.exit = new Promise((done) => this.process.on('close', done));
  }

  // The first match of the pattern in what came after `from`; the guest's line ends are CR LF.
  async expect(pattern, from = 0) {
    const giveUp = AbortSignal.timeout(deadlineMs);
    for (;;) {
      const match = pattern.exec(this.output.slice(from).replaceAll('\r', ''));
      if (match) return match;
      assert(
        !giveUp.aborted && this.process.exitCode === null,
        `no ${pattern} in ${JSON.stringify(this.output.slice(-2000))}`,
      );
      let wake;
      await Promise.race([
        new Promise((done) => {
          wake = done;
          this.#waiters.add(done);
        }),
        delay(1000, null, { ref: true }),
      ]);
      this.#waiters.delete(wake);
    }
  }

  async booted(from = 0) {
    const [, json] = await this.expect(/^NODE-COMPUTE-GUEST (\{"event":"BOOTED".*\})\n/m, from);
    this.bootMs = performance.now() - this.startedMs;
    return JSON.parse(json);
  }

  async command(line) {
    await this.expect(/guest# $/);
    const from = this.output.length;
    this.process.stdin.write(`${line}; echo "status"=$?\n`);
    return (await this.expect(/\n([\s\S]*)status=(\d+)\n/, from)).slice(1);
  }

  monitor(line) {
    const socket = createConnection(this.monitorPath);
    socket.on('data', () => {}).write(`${line}\n`);
    return () => socket.destroy();
  }

  cpuMs() {
    const fields = readFileSync(`/proc/${this.process.pid}/stat`, 'utf8').split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  }

  async stop() {
    this.process.kill('SIGKILL');
    await this.exit;
  }
}

function overlayOf(sizeGib) {
  const path = join(scratch, `overlay-${names++}.qcow2`);
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', path, `${sizeGib}G`]);
  return path;
}

const virtioDisk = ['-device', 'virtio-blk-pci,drive=root,serial=root-1'];
const oemName = (name) => ['-smbios', `type=11,value=other,value=name=${name.replaceAll(',', ',,')}`];
const uuid = '5b3d7a52-92f0-4c0e-8a4c-3f0c2f1de0a1';

const checks = {
  async 'reports itself and answers the power button at once'(machine) {
    const macs = ['52:54:00:00:00:02', '52:54:00:00:00:01'];
    const nics = macs.flatMap((mac) => ['-nic', `user,restrict=on,model=virtio-net-pci,mac=${mac}`]);
    const extra = [
      '-drive',
      `file=${overlayOf(2)},format=qcow2,if=none,id=more`,
      '-device',
      'virtio-blk-pci,drive=more,serial=volume-2',
    ];
    const args = [
      ...virtioDisk,
      ...extra,
      ...nics,
      ...oemName('instance-00000001'),
      '-uuid',
      uuid,
      '-m',
      '192',
      '-smp',
      '2',
    ];
    const guest = new Guest(machine, args, overlayOf(1));
    const { kernel, ...report } = await guest.booted();
    const close = guest.monitor('system_powerdown');
    assert.match(kernel, /^\d+\.\d+/);
    assert.deepEqual(report, {
      event: 'BOOTED',
      name: 'instance-00000001',
      uuid,
      rootDiskBytes: gib,
      macs,
      memoryMb: 192,
      vcpus: 2,
      disks: [
        { name: 'vda', bytes: gib, serial: 'root-1' },
        { name: 'vdb', bytes: 2 * gib, serial: 'volume-2' },
      ],
    });
    assert.equal(await guest.exit, 0);
    close();
    assert.match(guest.output, /\r\nNODE-COMPUTE-GUEST \{"event":"POWEROFF"\}\r\n/);
    assert.equal(guest.output.match(/NODE-COMPUTE-GUEST/g).length, 2);
    return guest;
  },

  async 'keeps a mark across every kind of reboot, and a larger disk'(machine) {
    const overlay = overlayOf(1);
    const args = [...virtioDisk, ...oemName('odd "name", with \\ and \t'), '-nic', 'none', '-m', '96'];
    let guest = new Guest(machine, args, overlay);
    assert.equal((await guest.booted()).name, 'odd "name", with \\ and \t');
    assert.deepEqual(await guest.command('readmark'), ['', '1']);
    assert.deepEqual(await guest.command('mark first'), ['', '0']);
    const reboots = [
      () => void guest.process.stdin.write('reboot -f\n'),
      () => void guest.process.stdin.write('reboot\n'),
      () => guest.monitor('sendkey ctrl-alt-delete'),
      () => guest.monitor('system_reset'),
    ];
    for (const reboot of reboots) {
      const from = guest.output.length;
      const close = reboot();
      assert.deepEqual((await guest.booted(from)).macs, []);
      close?.();
      assert.deepEqual(await guest.command('readmark'), ['first\n', '0']);
    }
    await guest.stop();
    execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', overlay, '3G']);
    guest = new Guest(machine, args, overlay);
    assert.equal((await guest.booted()).rootDiskBytes, 3 * gib);
    assert.deepEqual(await guest.command('readmark'), ['first\n', '0']);
    await guest.stop();
    return guest;
  },

  async 'runs commands, idles, and finds what is plugged in'(machine) {
    const args = [...virtioDisk, '-m', '128', '-nic', 'none'];
    const slot = machine === 'q35' ? ['-device', 'pcie-root-port,id=plug,chassis=1'] : [];
    const guest = new Guest(machine, [...args, ...slot], overlayOf(1));
    assert.equal((await guest.booted()).name, 'guest');
    assert.deepEqual(await guest.command('echo "a  b"; cd /tmp'), ['a  b\n', '0']);
    assert.deepEqual(await guest.command('pwd; false'), ['/tmp\n', '1']);
    const from = guest.output.length;
    guest.process.stdin.write('exit\n');
    await guest.expect(/exit\n[\s\S]*guest# $/, from); // what is typed while the shell starts anew is lost
    assert.deepEqual(await guest.command('pwd'), ['/\n', '0']);
    await delay(3000); // the drivers that load after BOOTED
    const before = guest.cpuMs();
    await delay(4000);
    const busyMs = guest.cpuMs() - before;
    assert(busyMs < 1000, `idle for 4 s, yet ${busyMs} ms of CPU`);
    const close = guest.monitor(
      `device_add virtio-net-pci,mac=52:54:00:00:00:09${machine === 'q35' ? ',bus=plug' : ''}`,
    );
    const found = 'until grep -q 52:54:00:00:00:09 /sys/class/net/*/address; do usleep 100000; done';
    assert.deepEqual(await guest.command(found), ['', '0']);
    close();
    guest.process.stdin.write('poweroff -f\n');
    assert.equal(await guest.exit, 0);
    return guest;
  },

  async 'finds what is on further disks, and uses it'(machine) {
    const made = [
      ['ext4', 'ext4-label', ['mkfs.ext4', '-q', '-F', '-L', 'ext4-label']],
      ['vfat', 'fat-label', ['mkfs.vfat', '-n', 'fat-label']],
      ['swap', 'swap-label', ['mkswap', '-q', '-L', 'swap-label']],
    ];
    const drives = made.flatMap(([type, , [program, ...words]]) => {
      const path = join(scratch, `${type}-${names++}`);
      writeFileSync(path, '', { mode: 0o600 });
      truncateSync(path, gib);
      execFileSync(program, [...words, path], {
        stdio: 'ignore',
        env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      });
      return ['-drive', `file=${path},format=raw,if=virtio`];
    });
    const guest = new Guest(machine, [...virtioDisk, ...drives, '-nic', 'none', '-m', '128'], overlayOf(1));
    const [root, ...more] = (await guest.booted()).disks;
    assert.equal(root.content, undefined);
    assert.deepEqual(
      more.map(({ content }) => [content.type, content.label]),
      made.map(([type, label]) => [type, label]),
    );
    for (const { bytes, content } of more) {
      assert.equal(bytes, gib);
      assert(content.usableBytes > 0.9 * gib && content.usableBytes < gib, JSON.stringify(content));
    }
    await guest.stop();
    return guest;
  },

  async 'boots from virtio-scsi in little memory'(machine) {
    const args = [
      '-device',
      'virtio-scsi-pci',
      '-device',
      'scsi-hd,drive=root,serial=scsi-1',
      '-nic',
      'none',
      '-m',
      '96',
    ];
    const guest = new Guest(machine, args, overlayOf(1));
    const report = await guest.booted();
    assert.deepEqual(report.disks, [{ name: 'sda', bytes: gib, serial: 'scsi-1' }]);
    assert.equal(report.rootDiskBytes, gib);
    assert.deepEqual(await guest.command('mark word && readmark'), ['word\n', '0']);
    await guest.stop();
    return guest;
  },
};

try {
  execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', image]);
  for (const machine of ['pc', 'q35']) {
    for (const [name, check] of Object.entries(checks).filter(([name]) =>
      name.includes(process.argv[3] ?? ''),
    )) {
      const guest = await check(machine);
      console.log(`ok ${machine}: ${name} (BOOTED after ${(guest.bootMs / 1000).toFixed(2)} s)`);
    }
  }
} finally {
  for (const child of running) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true });
}
