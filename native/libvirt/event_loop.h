// libvirt's default event loop in a thread of its own: timers, sockets and QEMU monitors are served by it.
#pragma once

namespace node_compute {

/// Registers the event implementation and starts the thread, once per process. Must come before the first
/// connection is opened. The thread runs until the process ends: libvirt has no way to unregister it.
/// Throws LibvirtError or std::system_error.
void ensure_event_loop();

}  // namespace node_compute
