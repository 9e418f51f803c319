// Threads of ours take no signals: a handler of the embedding program run on one would surprise it.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace node_compute {

/// While it lives the calling thread blocks all signals, and a thread that it starts inherits that for good.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace node_compute
