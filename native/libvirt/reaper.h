// Collects daemonised processes that nobody else would: QEMU and its probes, orphaned to this process.
#pragma once

#include <sys/types.h>

#include <string>

namespace node_compute {

/// Makes the process the reaper of its orphaned descendants (PR_SET_CHILD_SUBREAPER) and starts the thread
/// that collects them. Once per process, for embedded connections.
///
/// libvirt takes a QEMU for gone when kill(pid, 0) fails, which a zombie does not. Where PID 1 is slow to
/// collect (or is this very process, in a container) each destroy would wait 1 s to 80 s for it. Only orphans
/// are collected: a child that this process forked itself belongs to whoever forked it.
void ensure_reaper();

/// Tells the reaper that daemons may be about to appear (a connection opens, a domain starts): it then looks
/// at once.
void expect_daemons();

/// Whether a zombie child is a daemon that was adopted: fork, setsid, fork leaves it in a session that is
/// neither ours nor its own. `stat` is the text of /proc/<pid>/stat.
bool is_adopted_daemon(const std::string& stat, pid_t pid, pid_t own_session);

/// Whether a zombie child is the process between QEMU's two forks, or a detached child of that name.
bool is_daemons_first_half(const std::string& stat, pid_t pid);

/// Now, not when the reaper comes to it. False where it is no adopted daemon, or still runs.
bool collect_daemon(pid_t pid);

}  // namespace node_compute
