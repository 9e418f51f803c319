// libvirt's default event loop in a thread of its own: timers, sockets and QEMU monitors are served by it.
#pragma once

#include <string>

namespace node_compute {

/// Initialises libvirt, once per process; takes a millisecond. With `log_file` its warnings go there instead
/// of to stderr, unless LIBVIRT_LOG_OUTPUTS is set: that variable, read here and only here, is libvirt's one
/// way to say so. It changes the environment for a moment, so call it on the main JavaScript thread. Throws
/// LibvirtError.
void initialize_libvirt(const std::string& log_file);

/// Registers the event implementation and starts the thread, once per process. Must come before the first
/// connection is opened. The thread runs until the process ends: libvirt has no way to unregister it.
/// Throws LibvirtError or std::system_error.
void ensure_event_loop();

}  // namespace node_compute
