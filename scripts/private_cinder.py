"""Debian's Cinder, its three services in one process, with a backend of files; for private-cinder.mjs."""
import eventlet

eventlet.monkey_patch()

import os
import subprocess
import sys

from cinder import objects, rpc, service, utils
from cinder.common import config  # noqa: F401, it registers options
from cinder.db import migration
from cinder.volume import driver
from oslo_config import cfg
from oslo_log import log as logging
from oslo_service import service as oslo_service

CONF = cfg.CONF
BACKEND = 'files'


def serve(arguments):
    """The names of the services' hosts are those that Cinder's own programs give them."""
    objects.register_all()
    CONF(arguments, project='cinder', version='private')
    logging.setup(CONF, 'cinder')
    utils.monkey_patch()
    migration.db_sync()
    rpc.init(CONF)
    host = '%s@%s' % (CONF.host, BACKEND)
    launcher = oslo_service.launch(CONF, service.Service.create(binary='cinder-scheduler'))
    launcher.launch_service(service.Service.create(
        host=host, service_name=BACKEND, binary='cinder-volume', coordination=True))
    launcher.launch_service(service.WSGIService('osapi_volume'))
    launcher.wait()


class ServiceRole:
    """A service's token has a service's role, as Keystone would say."""

    def __init__(self, application):
        self.application = application

    @classmethod
    def factory(cls, _global, **_local):
        return cls

    def __call__(self, environ, start_response):
        if 'HTTP_X_SERVICE_TOKEN' in environ:
            environ['HTTP_X_SERVICE_ROLES'] = 'service'
        return self.application(environ, start_response)


class FileDriver(driver.VolumeDriver):
    """Raw files, as of NFS; a volume whose name begins with "loop" is a block device of this host."""

    VERSION = '1'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values([cfg.StrOpt('files_directory'), cfg.StrOpt('files_export')])

    def check_for_setup_error(self):
        pass

    def _update_volume_stats(self):
        self._stats = {
            'volume_backend_name': BACKEND,
            'vendor_name': 'none',
            'driver_version': self.VERSION,
            'storage_protocol': 'nfs',
            'total_capacity_gb': 100,
            'free_capacity_gb': 100,
            'reserved_percentage': 0,
            'multiattach': True,
        }

    def _path(self, volume):
        return os.path.join(self.configuration.files_directory, volume.name)

    def create_volume(self, volume):
        self._size(volume, volume.size)

    def extend_volume(self, volume, new_size):
        self._size(volume, new_size)

    def _size(self, volume, gib):
        with open(self._path(volume), 'ab') as file:
            file.truncate(gib * 2 ** 30)

    def delete_volume(self, volume):
        os.unlink(self._path(volume))

    def ensure_export(self, context, volume, connector=None):
        pass

    create_export = remove_export = ensure_export

    def initialize_connection(self, volume, connector):
        if volume.display_name and volume.display_name.startswith('loop'):
            device = subprocess.check_output(['losetup', '--find', '--show', self._path(volume)], text=True)
            return {'driver_volume_type': 'local', 'data': {'device_path': device.strip()}}
        data = {'export': self.configuration.files_export, 'name': volume.name, 'options': None, 'format': 'raw'}
        return {'driver_volume_type': 'nfs', 'data': data, 'mount_point_base': '/'}

    def terminate_connection(self, volume, connector, **kwargs):
        for line in subprocess.check_output(['losetup', '-j', self._path(volume)], text=True).splitlines():
            subprocess.check_call(['losetup', '-d', line.split(':')[0]])


if __name__ == '__main__':
    serve(sys.argv[1:])
