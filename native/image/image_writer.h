// The writes of an edit in place, in the order that makes it safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace node_compute {

/// Virtual so that a test can see each step, and stop before it as a crash would.
class ImageWriter {
 public:
  /// The file must stay open; `name` is for messages.
  ImageWriter(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
  virtual ~ImageWriter() = default;

  virtual void write(std::uint64_t offset, const std::vector<std::uint8_t>& data);
  virtual void resize(std::uint64_t bytes);
  /// What was written before is on the disk before what is written after.
  virtual void barrier();

 private:
  int descriptor_;
  std::string name_;
};

}  // namespace node_compute
