"""What cloud-init reads of a config drive whose files lie in a directory: JSON on standard output.

Usage: cloud-init.py openstack|nocloud DIRECTORY MAC=NAME ...
"""
import json
import sys

from cloudinit import util
from cloudinit.net.network_state import parse_net_config_data
from cloudinit.sources.DataSourceConfigDrive import read_config_drive
from cloudinit.sources.DataSourceNoCloud import _merge_new_seed
from cloudinit.sources.helpers.openstack import convert_net_json

layout, directory, *macs = sys.argv[1:]
if layout == "openstack":
    found = read_config_drive(directory)
    names = dict(mac.split("=") for mac in macs)
    network = convert_net_json(found["networkdata"], known_macs=names)
else:
    seed = util.pathprefix2dict(
        directory, required=["user-data", "meta-data"], optional=["vendor-data", "network-config"]
    )
    found = _merge_new_seed({"meta-data": {}}, seed)
    network = found.get("network-config")
if network:
    found["interfaces"] = list(parse_net_config_data(network).iter_interfaces())
print(json.dumps(found, default=lambda value: value.decode("utf-8", "backslashreplace")))
