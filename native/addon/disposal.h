// Lets go of core objects away from the JavaScript thread: the last reference may talk to a daemon.
#pragma once

#include <memory>
#include <utility>

#include "executor/executor.h"

namespace node_compute {

template <class Object>
class Disposal final : public Job {
 public:
  explicit Disposal(std::shared_ptr<Object> object) : Job(nullptr), object_(std::move(object)) {}
  void run() noexcept override { object_.reset(); }
  void drop() noexcept override { object_.reset(); }

 private:
  std::shared_ptr<Object> object_;
};

/// For finalizers: never throws, never blocks. Where the lane is full the object is let go here after all.
template <class Object>
void dispose(std::shared_ptr<Object> object) noexcept {
  if (!object) return;
  try {
    Executor::process().submit(Lane::wait, std::make_unique<Disposal<Object>>(std::move(object)));
  } catch (...) {
    return;
  }
}

}  // namespace node_compute
