#include "libvirt/event_loop.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "executor/signals_blocked.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {

void run() {
  pthread_setname_np(pthread_self(), "compute-events");
  for (;;) {
    // A failed round (EINTR, a handle closed under it) is no reason to stop serving the others.
    if (virEventRunDefaultImpl() < 0) virResetLastError();
  }
}

void keep_awake(int, void*) {}

void start() {
  initialize_libvirt("");
  if (virEventRegisterDefaultImpl() < 0) throw LibvirtError::last("virEventRegisterDefaultImpl");
  // Without any timer or handle the loop would spin: one slow timer gives it something to sleep on.
  if (virEventAddTimeout(60'000, &keep_awake, nullptr, nullptr) < 0) {
    throw LibvirtError::last("virEventAddTimeout");
  }
  const SignalsBlocked blocked;
  std::thread(run).detach();
}

}  // namespace

void initialize_libvirt(const std::string& log_file) {
  static std::once_flag once;
  std::call_once(once, [&] {
    silence_libvirt_errors();
    constexpr const char* kOutputs = "LIBVIRT_LOG_OUTPUTS";
    const bool ours = !log_file.empty() && getenv(kOutputs) == nullptr;
    // 3: warnings and errors.
    if (ours) setenv(kOutputs, ("3:file:" + log_file).c_str(), 0);
    const int result = virInitialize();
    // Children of the embedding program must not inherit it.
    if (ours) unsetenv(kOutputs);
    if (result < 0) throw LibvirtError::last("virInitialize");
  });
}

void ensure_event_loop() {
  static std::once_flag once;
  std::call_once(once, start);
}

}  // namespace node_compute
