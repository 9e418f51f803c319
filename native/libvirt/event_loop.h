// libvirt's default event loop in a thread of its own: timers, sockets and QEMU monitors are served by it.
#pragma once

#include <string>

namespace node_compute {

/// Sends libvirt's warnings to a file instead of stderr, by the environment variable that libvirt reads when
/// it is first used: later calls have no effect, and a LIBVIRT_LOG_OUTPUTS that is set already is kept.
/// Changes the environment, so call it on the main JavaScript thread only.
void route_libvirt_log(const std::string& path);

/// Registers the event implementation and starts the thread, once per process. Must come before the first
/// connection is opened. The thread runs until the process ends: libvirt has no way to unregister it.
/// Throws LibvirtError or std::system_error.
void ensure_event_loop();

}  // namespace node_compute
