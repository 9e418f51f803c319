"""libvirt's own Python binding: an overlay by qemu-img, define, start; see ../README.md."""

import concurrent.futures
import json
import os
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


def milliseconds():
    return time.perf_counter() * 1000


def cpu_seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def status(field):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


class Instance:
    """One domain with its overlay; `end` may be called at any point of its life."""

    def __init__(self, connection):
        self.connection = connection
        self.uuid = str(uuids.uuid4())
        self.disk = os.path.join(DIRECTORY, self.uuid + ".qcow2")
        self.log = os.path.join(DIRECTORY, self.uuid + ".log")
        self.domain = None

    def start(self):
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", OPTIONS["base"], "-F", "raw", self.disk, "1G"],
            check=True,
        )
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
            self.domain.undefine()
            self.domain = None
        for path in (self.disk, self.log):
            if os.path.exists(path):
                os.unlink(path)

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

    def reboot(self):
        one = self.instance()
        one.start()
        samples = []
        cpu = begun = None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            begin = milliseconds()
            one.domain.destroy()
            one.domain.create()
            if turn >= WARMUP:
                samples.append(milliseconds() - begin)
        return {"reboot": samples}, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def idle(self):
        time.sleep(1)
        with open("/proc/self/statm", encoding="ascii") as pages:
            resident = int(pages.read().split()[1]) * resource.getpagesize() / 2**20
        return {"idle": [resident]}, 1.0, 0.0

    def call(self):
        domain = self.connection.lookupByName("test")
        for _ in range(WARMUP):
            domain.info()
        samples, together = [], []
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
        return {"call": samples, "together": together}, (milliseconds() - begun) / 1000, cpu_seconds() - cpu


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
    work = Work(libvirt.open(OPTIONS["uri"]))
    try:
        samples, seconds, cpu = getattr(work, OPTIONS["work"])()
        answer = {
            "samples": samples,
            "seconds": seconds,
            "cpuSeconds": cpu,
            "peakRssMib": status("VmHWM") / 1024,
            "threads": status("Threads"),
        }
    finally:
        work.end_all()
        work.connection.close()
    print(json.dumps(answer))


main()
