"""Nova's own LibvirtDriver, run in process: spawn, destroy, hard reboot; see ../README.md.

What is not the driver's costs nothing here, in Nova's favour: no database, conductor, message queue, scheduler, Placement or
network; the image is fetched by a copy of a local file. The privileged daemon runs as Nova runs it, forked at the start.
"""

import nova.monkey_patch  # noqa: F401  # must be the first

import contextlib
import json
import logging
import os
import resource
import shutil
import sys
import time
from unittest import mock
import uuid as uuids

import eventlet
from oslo_concurrency import lockutils
from oslo_privsep import priv_context

import nova.conf
from nova.conf import neutron as neutron_options
import nova.context
from nova import config, objects
from nova.compute import power_state
import nova.privsep
from nova.network import model as network_model
from nova.virt import images, virtapi
from nova.virt.libvirt import driver as libvirt_driver

OPTIONS = json.loads(sys.argv[1])
WARMUP = OPTIONS.get("warmup", 0)
COUNT = OPTIONS.get("count", 1)
CONCURRENCY = OPTIONS.get("concurrency", 1)
DIRECTORY = OPTIONS["directory"]
IMAGE_ID = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
CONF = nova.conf.CONF


def milliseconds():
    return time.perf_counter() * 1000


def status(field, pid="self", file="status"):
    with open(f"/proc/{pid}/{file}", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def agent_mib():
    """Resident memory of this process, its privileged daemon and its libvirtd."""
    return sum(status("VmRSS", pid) for pid in ("self", *daemons(), OPTIONS["libvirtd"])) / 1024


def cpu_seconds():
    """Of this process, the children it waited for, and the privileged daemon."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both) + sum(map(process_seconds, daemons()))


def daemons():
    return [pid for pid in children() if process_name(pid) != "qemu-img"]


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as pids:
        return pids.read().split()


def process_name(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as name:
        return name.read().strip()


def process_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split(" ")
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def qemu_of(uuid):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8") as arguments:
            if f"\0-uuid\0{uuid}\0" in arguments.read():
                return pid
    raise RuntimeError("no QEMU of " + uuid)


def configure():
    path = os.path.join(DIRECTORY, "nova.conf")
    for name in ("instances", "locks"):
        os.makedirs(os.path.join(DIRECTORY, name), mode=0o711, exist_ok=True)
    with open(path, "w", encoding="utf-8") as conf:
        conf.write(f"""[DEFAULT]
host = bench
state_path = {DIRECTORY}
instances_path = {DIRECTORY}/instances
[oslo_concurrency]
lock_path = {DIRECTORY}/locks
[libvirt]
connection_uri = {OPTIONS["uri"]}
virt_type = qemu
[vnc]
enabled = true
""")
    config.parse_args(["nova-compute", "--config-file", path], configure_db=False)
    neutron_options.register_dynamic_opts(CONF)
    nova.context.get_admin_context()
    logging.getLogger("nova").setLevel(logging.WARNING)
    lockutils.set_defaults(os.path.join(DIRECTORY, "locks"))


class NoEvents(virtapi.VirtAPI):
    """There are no networks, and so none of their events."""

    @contextlib.contextmanager
    def wait_for_instance_event(self, *_args, **_options):
        yield

    def update_compute_provider_status(self, *_args, **_options):
        pass


class Work:
    def __init__(self):
        configure()
        objects.register_all()
        nova.privsep.sys_admin_pctxt.start(priv_context.Method.FORK)
        self.context = nova.context.get_admin_context()
        for patch in (
            # Glance.
            mock.patch.object(images, "fetch", lambda _c, _i, path, _t=None: shutil.copyfile(OPTIONS["image"], path)),
            mock.patch.object(images.IMAGE_API, "get", lambda *_a, **_o: {"id": IMAGE_ID, "disk_format": "qcow2"}),
            # Conductor and database.
            mock.patch.object(objects.Instance, "save", lambda *_a, **_o: None),
            mock.patch.object(objects.Instance, "refresh", lambda *_a, **_o: None),
            *(
                mock.patch.object(kind, method, lambda *_a, _empty=kind, **_o: _empty(objects=[]))
                for kind, method in (
                    (objects.InstanceList, "get_by_host"),
                    (objects.InstanceList, "get_by_filters"),
                    (objects.BlockDeviceMappingList, "get_by_instance_uuid"),
                    (objects.VirtualInterfaceList, "get_by_instance_uuid"),
                )
            ),
            mock.patch.object(objects.BlockDeviceMappingList, "bdms_by_instance_uuid", lambda *_a, **_o: {}),
            mock.patch.object(libvirt_driver.LibvirtDriver, "_set_host_enabled", lambda *_a, **_o: None),
        ):
            patch.start()
        self.driver = libvirt_driver.LibvirtDriver(NoEvents())
        self.driver.init_host("bench")
        self.instances = []
        self.steps = {"image": []}
        mock.patch.object(self.driver, "_create_image", self.timed(self.driver._create_image)).start()

    def timed(self, create_image):
        def create(*arguments, **options):
            begin = milliseconds()
            result = create_image(*arguments, **options)
            self.steps["image"].append(milliseconds() - begin)
            return result

        return create

    def instance(self):
        flavor = objects.Flavor(
            id=1, name="bench", flavorid="bench", vcpus=1, memory_mb=128, root_gb=1, ephemeral_gb=0, swap=0,
            rxtx_factor=1.0, vcpu_weight=0, disabled=False, is_public=True, extra_specs={}, projects=[],
            description=None,
        )
        uuid = str(uuids.uuid4())
        one = objects.Instance(
            context=self.context, id=len(self.instances) + 1, uuid=uuid, display_name="bench", hostname="bench",
            project_id="bench", user_id="bench", host="bench", node="bench", image_ref=IMAGE_ID, kernel_id="",
            ramdisk_id="", flavor=flavor, memory_mb=128, vcpus=1, root_gb=1, ephemeral_gb=0, numa_topology=None,
            pci_devices=objects.PciDeviceList(objects=[]), pci_requests=objects.InstancePCIRequests(requests=[]),
            vcpu_model=None, device_metadata=None, trusted_certs=None, resources=None, metadata={}, system_metadata={
                "image_disk_format": "qcow2", "image_container_format": "bare", "image_min_disk": "1",
                "image_min_ram": "0", "owner_user_name": "bench", "owner_project_name": "bench",
            },
            info_cache=objects.InstanceInfoCache(instance_uuid=uuid, network_info=network_model.NetworkInfo()),
            os_type=None, architecture=None, vm_mode=None, root_device_name=None, default_ephemeral_device=None,
            default_swap_device=None, config_drive="", key_data=None, key_name=None, availability_zone=None,
            vm_state="building", task_state="spawning", power_state=power_state.NOSTATE, deleted=False, cleaned=False,
            migration_context=None, fault=None, tags=objects.TagList(objects=[]), keypairs=objects.KeyPairList(objects=[]),
            old_flavor=None, new_flavor=None, launched_on="bench", ec2_ids=objects.EC2Ids(), reservation_id="r-bench",
        )
        self.instances.append(one)
        return one

    def spawn(self, begin=None):
        begin = begin or milliseconds()
        one = self.instance()
        image = objects.ImageMeta.from_dict(
            {"id": IMAGE_ID, "disk_format": "qcow2", "container_format": "bare", "min_disk": 0, "min_ram": 0,
             "size": os.path.getsize(OPTIONS["image"]), "properties": {}}
        )
        self.driver.spawn(
            self.context, one, image, [], None, {}, network_info=network_model.NetworkInfo(),
            block_device_info=self.block_devices(one),
        )
        return milliseconds() - begin

    def block_devices(self, one):
        return {
            "root_device_name": "/dev/vda", "ephemerals": [], "swap": None, "block_device_mapping": [],
            "image": [],
        }

    def end(self, one):
        self.driver.destroy(
            self.context, one, network_model.NetworkInfo(), block_device_info=self.block_devices(one)
        )
        self.instances.remove(one)

    def end_all(self):
        for one in list(self.instances):
            self.end(one)
        if OPTIONS.get("cold"):
            shutil.rmtree(os.path.join(DIRECTORY, "instances", "_base"), ignore_errors=True)

    def launch(self):
        for _ in range(WARMUP):
            self.spawn()
            self.end_all()
        self.steps = {"image": []}
        cpu, wall, samples = cpu_seconds(), 0.0, []
        if CONCURRENCY > 1:
            # As ComputeManager does: green threads, so many builds at once.
            pool = eventlet.GreenPool(CONCURRENCY)
            begin = milliseconds()
            samples = list(pool.imap(lambda _: self.spawn(begin), range(COUNT)))
            wall = milliseconds() - begin
        else:
            for _ in range(COUNT):
                samples.append(self.spawn())
                wall += samples[-1]
                self.end_all()
        return {"launch": samples}, wall / 1000, cpu_seconds() - cpu

    def terminate(self):
        samples, cpu, begun = [], None, None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            self.spawn()
            begin = milliseconds()
            self.end_all()
            if turn >= WARMUP:
                samples.append(milliseconds() - begin)
        return {"terminate": samples}, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

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
        self.spawn()
        one = self.instances[0]
        nothing, devices = network_model.NetworkInfo(), self.block_devices(one)
        return self.in_turn(
            {"reboot": lambda: self.driver.reboot(self.context, one, nothing, "HARD", block_device_info=devices)}
        )

    def save(self):
        self.spawn()
        one = self.instances[0]
        nothing, devices = network_model.NetworkInfo(), self.block_devices(one)
        return self.in_turn(
            {
                "suspend": lambda: self.driver.suspend(self.context, one),
                "resume": lambda: self.driver.resume(self.context, one, nothing, block_device_info=devices),
            }
        )

    def report(self):
        for _ in range(OPTIONS["instances"]):
            self.spawn()
        samples, cpu, begun = [], None, None
        for turn in range(WARMUP + COUNT):
            if turn == WARMUP:
                cpu, begun = cpu_seconds(), milliseconds()
            begin = milliseconds()
            self.driver.get_available_resource("bench")
            if turn >= WARMUP:
                samples.append(milliseconds() - begin)
        return {"report": samples}, (milliseconds() - begun) / 1000, cpu_seconds() - cpu

    def idle(self):
        time.sleep(1)
        pids = ["self", *daemons()]
        return {"idle": [sum(map(proportional_mib, pids))]}, 1.0, 0.0

    def memory(self):
        for _ in range(WARMUP):
            self.spawn()
            self.end_all()
        before = agent_mib()
        for _ in range(COUNT):
            self.spawn()
        grown = agent_mib() - before
        qemu = [proportional_mib(qemu_of(one.uuid)) for one in self.instances]
        return {"agent": [grown / COUNT], "qemu": qemu}, 1.0, 0.0


def proportional_mib(pid):
    """Of pages that processes share, such as the daemon's with its parent, the share of this one."""
    return status("Pss", pid, "smaps_rollup") / 1024


def main():
    work = Work()
    try:
        samples, seconds, cpu = getattr(work, OPTIONS["work"])()
        answer = {
            "samples": samples,
            "seconds": seconds,
            "cpuSeconds": cpu,
            "peakRssMib": status("VmHWM") / 1024,
            "threads": status("Threads"),
            "steps": work.steps,
        }
    finally:
        work.end_all()
    print(json.dumps(answer), flush=True)
    # The privileged daemon ends with us; nothing of Nova's has to be waited for.
    os._exit(0)


main()
