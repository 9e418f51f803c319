"""libvirt's own Python binding: an overlay by qemu-img, define, start; see ../README.md."""

import concurrent.futures
import contextlib
import json
import os
import queue
import re
import resource
import subprocess
import sys
import threading
import time
import uuid as uuids

import libvirt

OPTIONS = json.loads(sys.argv[1])
WARMUP = OPTIONS.get("warmup", 0)
COUNT = OPTIONS.get("count", 1)
CONCURRENCY = OPTIONS.get("concurrency", 1)
DIRECTORY = OPTIONS["directory"]
VOLUME = """<disk type="file" device="disk"><driver name="qemu" type="raw" cache="none" io="native"/>
<source file="{}"/><target dev="vdb" bus="virtio"/></disk>"""
COPY = """<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="{}"/></disk>"""


def milliseconds():
    return time.perf_counter() * 1000


def cpu_seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def status(field, pid="self", file="status"):
    with open(f"/proc/{pid}/{file}", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def agent_mib():
    """Resident memory of this process and of its libvirtd."""
    return sum(status("VmRSS", pid) for pid in ("self", OPTIONS["libvirtd"])) / 1024


def qemu_img(*words):
    subprocess.run(["qemu-img", *words], check=True)


class Instance:
    """One domain with its overlay; `end` may be called at any point of its life."""

    def __init__(self, connection):
        self.connection = connection
        self.uuid = str(uuids.uuid4())
        self.disk = os.path.join(DIRECTORY, self.uuid + ".qcow2")
        self.log = os.path.join(DIRECTORY, self.uuid + ".log")
        self.base = os.path.join(DIRECTORY, self.uuid + ".raw") if OPTIONS.get("cold") else None
        self.domain = None
        self.image_ms = None

    def start(self):
        begin = milliseconds()
        if self.base:
            qemu_img("convert", "-f", "qcow2", "-O", "raw", OPTIONS["image"], self.base)
        qemu_img("create", "-q", "-f", "qcow2", "-b", self.base or OPTIONS["base"], "-F", "raw", self.disk, "1G")
        self.image_ms = milliseconds() - begin
        with open(OPTIONS["xml"], encoding="utf-8") as template:
            document = template.read()
        for blank, value in {
            "@NAME@": "bench-" + self.uuid,
            "@UUID@": self.uuid,
            "@DISK@": self.disk,
            "@LOG@": self.log,
        }.items():
            document = document.replace(blank, value)
        self.domain = self.connection.defineXML(document)
        self.domain.create()

    def end(self):
        if self.domain is not None:
            if self.domain.isActive():
                self.domain.destroy()
            self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
            self.domain = None
        for path in (self.disk, self.log, self.base):
            if path and os.path.exists(path):
                os.unlink(path)

    def wait_for_boot(self):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(FileNotFoundError), open(self.log, encoding="latin-1") as console:
                if '"BOOTED"' in console.read():
                    return
            time.sleep(0.05)
        raise RuntimeError("the guest of " + self.uuid + " did not boot in 120 s")

    def process(self):
        wanted = ("\0-uuid\0" + self.uuid + "\0").encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/" + pid + "/cmdline", "rb") as arguments:
                    if wanted in arguments.read():
                        return pid
            except OSError:
                continue  # ended meanwhile
        raise RuntimeError("no QEMU of " + self.uuid)


class Work:
    def __init__(self, connection):
        self.connection = connection
        self.instances = []
        self.steps = {}
        self.values = None

    def instance(self):
        one = Instance(self.connection)
        self.instances.append(one)
        return one

    def timed_start(self, begin=None):
        begin = begin or milliseconds()
        self.instance().start()
        return milliseconds() - begin

    def end_all(self):
        while self.instances:
            self.instances.pop().end()

    def launch(self):
        for _ in range(WARMUP):
            self.timed_start()
            self.end_all()
        cpu, wall, samples = cpu_seconds(), 0.0, []
        if CONCURRENCY > 1:
            begin = milliseconds()
            with concurrent.futures.ThreadPoolExecutor(CONCURRENCY) as pool:
                samples = list(pool.map(lambda _: self.timed_start(begin), range(COUNT)))
            wall = milliseconds() - begin
        else:
            for _ in range(COUNT):
                samples.append(self.timed_start())
                wall += samples[-1]
                self.steps.setdefault("image", []).append(self.instances[-1].image_ms)
                self.end_all()
        return {"launch": samples}, wall / 1000, cpu_seconds() - cpu

    def terminate(self):
        samples = {"gone": [], "terminate": []}
        cpu = begun = None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            one = self.instance()
            one.start()
            pid, gone = one.process(), []
            begin = milliseconds()
            watch = threading.Thread(target=lambda: gone.append(wait_for_exit(pid)))
            watch.start()
            one.end()
            took = milliseconds() - begin
            watch.join()
            if turn >= WARMUP:
                samples["terminate"].append(took)
                samples["gone"].append(gone[0] - begin)
        return samples, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def in_turn(self, operations):
        """Milliseconds of operations that are done in turn, by name."""
        samples = {name: [] for name in operations}
        cpu = begun = None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            for name, operation in operations.items():
                begin = milliseconds()
                operation()
                if turn >= WARMUP:
                    samples[name].append(milliseconds() - begin)
        return samples, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def reboot(self):
        one = self.instance()
        one.start()

        def hard():
            one.domain.destroy()
            one.domain.create()

        return self.in_turn({"reboot": hard})

    def save(self):
        one = self.instance()
        one.start()
        return self.in_turn({"suspend": one.domain.managedSave, "resume": one.domain.create})

    def attach(self):
        one = self.instance()
        one.start()
        one.wait_for_boot()
        volume = os.path.join(DIRECTORY, "volume.raw")
        with open(volume, "wb") as file:
            file.truncate(16 * 2**20)
        document = VOLUME.format(volume)
        removed = queue.SimpleQueue()
        handle = self.connection.domainEventRegisterAny(
            one.domain,
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
            lambda _connection, _domain, alias, _opaque: removed.put(alias),
            None,
        )
        live, config = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG

        def detach():
            one.domain.detachDeviceFlags(document, live)
            removed.get(timeout=60)
            one.domain.detachDeviceFlags(document, config)

        answer = self.in_turn(
            {"attach": lambda: one.domain.attachDeviceFlags(document, live | config), "detach": detach}
        )
        self.connection.domainEventDeregisterAny(handle)
        os.unlink(volume)
        return answer

    def snapshot(self):
        one = self.instance()
        one.start()
        one.domain.destroy()
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 90 512M 256M", one.disk], check=True)
        one.domain.create()
        delta, path = (os.path.join(DIRECTORY, name) for name in ("delta", "snapshot"))
        document = COPY.format(delta)
        flags = (
            libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
            | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
            | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        )
        pauses, sizes = [], []

        def noted(_connection, _domain, event, _detail, _opaque):
            if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
                pauses.append([milliseconds(), None])
            elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED and pauses and pauses[-1][1] is None:
                pauses[-1][1] = milliseconds()

        def copied():
            job = one.domain.blockJobInfo("vda", 0)
            return job and job["end"] > 0 and job["cur"] == job["end"]

        def snapshot():
            qemu_img("create", "-q", "-f", "qcow2", "-b", OPTIONS["base"], "-F", "raw", delta, "1G")
            os.chmod(delta, 0o666)
            one.domain.blockCopy("vda", document, flags=flags)
            while not copied():
                time.sleep(0.01)
            one.domain.blockJobAbort("vda", 0)
            qemu_img("convert", "-f", "qcow2", "-O", "qcow2", delta, path)
            if OPTIONS.get("digest"):
                subprocess.run(["sha512sum", path], check=True, stdout=subprocess.DEVNULL)
            sizes.append(os.path.getsize(path))
            os.unlink(delta)
            os.unlink(path)

        handle = self.connection.domainEventRegisterAny(
            one.domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, noted, None
        )
        answer = self.in_turn({"snapshot": snapshot})
        self.connection.domainEventDeregisterAny(handle)
        took = answer[0]["snapshot"]
        self.values = {
            "mibPerSecond": sizes[-1] / 2**20 / (sum(took) / len(took) / 1000),
            "pausedMs": sum((end or milliseconds()) - begin for begin, end in pauses) / (WARMUP + COUNT),
        }
        return answer

    def resize(self):
        one = self.instance()
        one.start()
        sizes = [(1, 128), (2, 256)]

        def resize():
            sizes.reverse()
            vcpus, mib = sizes[0]
            one.domain.destroy()
            document = one.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            for pattern, text in (
                (r"(<(memory|currentMemory) unit='KiB'>)\d+", rf"\g<1>{mib * 1024}"),
                (r"(<vcpu[^>]*>)\d+", rf"\g<1>{vcpus}"),
                (r"(<topology sockets=')\d+", rf"\g<1>{vcpus}"),
            ):
                document = re.sub(pattern, text, document)
            one.domain = self.connection.defineXML(document)
            one.domain.create()

        def grow():
            one.domain.destroy()
            qemu_img("resize", "-q", "-f", "qcow2", one.disk, "+1G")
            one.domain.create()

        return self.in_turn({"resize": resize, "grow": grow})

    def idle(self):
        time.sleep(1)
        with open("/proc/self/statm", encoding="ascii") as pages:
            resident = int(pages.read().split()[1]) * resource.getpagesize() / 2**20
        return {"idle": [resident]}, 1.0, 0.0

    def memory(self):
        for _ in range(WARMUP):
            self.timed_start()
            self.end_all()
        before = agent_mib()
        for _ in range(COUNT):
            self.timed_start()
        grown = agent_mib() - before
        qemu = [status("Pss", one.process(), "smaps_rollup") / 1024 for one in self.instances]
        return {"agent": [grown / COUNT], "qemu": qemu}, 1.0, 0.0

    def events(self):
        """From the call to the callback, in the thread of the event loop."""
        one = self.instance()
        one.start()
        arrived = queue.SimpleQueue()
        handle = self.connection.domainEventRegisterAny(
            one.domain,
            libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
            lambda _connection, _domain, event, _detail, _opaque: arrived.put((event, milliseconds())),
            None,
        )
        samples = {"suspend": [], "resume": []}
        cpu = begun = None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            for measure, action, wanted in (
                ("suspend", one.domain.suspend, libvirt.VIR_DOMAIN_EVENT_SUSPENDED),
                ("resume", one.domain.resume, libvirt.VIR_DOMAIN_EVENT_RESUMED),
            ):
                begin = milliseconds()
                action()
                event = None
                while event != wanted:
                    event, when = arrived.get(timeout=10)
                if turn >= WARMUP:
                    samples[measure].append(when - begin)
        answer = samples, (milliseconds() - begun) / 1000, cpu_seconds() - cpu
        self.connection.domainEventDeregisterAny(handle)
        return answer

    def call(self):
        domain = self.connection.lookupByName("test")
        for _ in range(WARMUP):
            domain.info()
        domains = len(self.states())
        samples, together, bulk = [], [], []
        cpu, begun = cpu_seconds(), milliseconds()
        for _ in range(COUNT):
            begin = milliseconds()
            domain.info()
            samples.append((milliseconds() - begin) * 1000)
        # A thread has nothing to gain from many at once; the same number for the same column.
        for _ in range(0, COUNT, 20):
            begin = milliseconds()
            for _ in range(20):
                domain.info()
            together.append((milliseconds() - begin) * 1000 / 20)
        for _ in range(0, COUNT, 200):
            begin = milliseconds()
            self.states()
            bulk.append((milliseconds() - begin) * 1000 / domains)
        samples = {"call": samples, "together": together, "bulk": bulk}
        return samples, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def usage(self):
        return self.sampled(lambda: [domain.info() for domain in self.connection.listAllDomains()])

    def usageAll(self):
        groups = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
            | libvirt.VIR_DOMAIN_STATS_BALLOON
            | libvirt.VIR_DOMAIN_STATS_VCPU
            | libvirt.VIR_DOMAIN_STATS_INTERFACE
            | libvirt.VIR_DOMAIN_STATS_BLOCK
        )
        return self.sampled(lambda: self.connection.getAllDomainStats(groups))

    def sampled(self, ask):
        samples, cpu, begun = [], None, None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            begin = milliseconds()
            found = len(ask())
            if found < OPTIONS["domains"]:
                raise RuntimeError(f"{found} domains")
            if turn >= WARMUP:
                samples.append(milliseconds() - begin)
        return {"usage": samples}, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def states(self):
        return [domain.state() for domain in self.connection.listAllDomains()]


def run_event_loop():
    while True:
        libvirt.virEventRunDefaultImpl()


def wait_for_exit(pid):
    """When a process has ended, in milliseconds; one that only waits to be reaped has."""
    while True:
        try:
            with open("/proc/" + pid + "/stat", encoding="utf-8") as stat:
                if stat.read().rsplit(") ", 1)[1].startswith("Z"):
                    return milliseconds()
        except OSError:
            return milliseconds()
        time.sleep(0.001)


def main():
    if OPTIONS["work"] in ("events", "attach", "snapshot") or ":///embed" in OPTIONS["uri"]:
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=run_event_loop, daemon=True).start()
    work = Work(libvirt.open(OPTIONS["uri"]))
    try:
        samples, seconds, cpu = getattr(work, OPTIONS["work"])()
        answer = {
            "samples": samples,
            "seconds": seconds,
            "cpuSeconds": cpu,
            "peakRssMib": status("VmHWM") / 1024,
            "threads": status("Threads"),
            "steps": work.steps,
            **({"values": work.values} if work.values else {}),
        }
    finally:
        work.end_all()
        work.connection.close()
    print(json.dumps(answer))


main()
