// Keeps libuv's fork handler from closing descriptors that libvirt opened in a forked child.
#pragma once

namespace node_compute {

/// Installs the guard once per process. Call before the first embedded connection, on any thread.
///
/// libuv registers a pthread_atfork child handler that, in *every* forked child, closes the two descriptors
/// of its signal pipe and opens a new pipe. libvirt daemonises QEMU by forking twice: the first child closes
/// all descriptors it does not pass on and opens a pipe of its own, which gets one of those two numbers; at
/// the second fork libuv's handler closes it, and with it libvirt's line to the parent ("Unable to notify
/// child process: Bad file descriptor"; no domain ever starts). The guard's handlers run after libuv's in a
/// child, and put back what stood under these two numbers. Where no such handler is found (no libuv in the
/// process) it does nothing.
///
/// Returns whether libuv's pipe was found. Throws SystemError where it can't fork.
bool install_fork_guard();

}  // namespace node_compute
