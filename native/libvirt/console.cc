#include "libvirt/console.h"

#include <libvirt/virterror.h>

#include <utility>

#include "executor/failure.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {

constexpr std::size_t kChunk = 65'536;
/// What virStreamRecv and virStreamSend return where they would have to wait.
constexpr int kWouldBlock = -2;

using Opaque = std::weak_ptr<Console>;

void release(void* opaque) noexcept {
  delete static_cast<Opaque*>(opaque);  // NOLINT(cppcoreguidelines-owning-memory)
}

}  // namespace

std::shared_ptr<Console> Console::open(Domain& domain, const std::string& device, unsigned flags) {
  StreamHandle stream = domain.with([&](virDomainPtr handle) {
    StreamHandle made(virStreamNew(virDomainGetConnect(handle), VIR_STREAM_NONBLOCK));
    if (!made) throw LibvirtError::last("virStreamNew");
    if (virDomainOpenConsole(handle, device.empty() ? nullptr : device.c_str(), made.get(), flags) < 0) {
      throw LibvirtError::last("virDomainOpenConsole");
    }
    return made;
  });
  // make_shared can't reach the private constructor.
  std::shared_ptr<Console> console(new Console(std::move(stream)));
  auto* const opaque = new Opaque(console);  // NOLINT(cppcoreguidelines-owning-memory)
  if (virStreamEventAddCallback(console->stream_.get(), 0, &Console::ready, opaque, &release) < 0) {
    release(opaque);
    throw LibvirtError::last("virStreamEventAddCallback");
  }
  return console;
}

Console::~Console() { close(); }

void Console::ready(virStreamPtr, int events, void* opaque) noexcept {
  try {
    if (const auto console = static_cast<Opaque*>(opaque)->lock()) console->on_ready(events);
  } catch (...) {
    return;  // no memory: whoever waits goes on waiting until close()
  }
}

void Console::read(Read done) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_ && !ended_) {
      if (reading_) throw InvalidArgument("one read of a console at a time");
      reading_ = std::move(done);
      arm();
      return;
    }
  }
  done({}, nullptr);
}

void Console::write(Bytes bytes, Written done) {
  const std::lock_guard lock(mutex_);
  if (closed_ || ended_) throw Closed("the console is closed");
  if (writing_) throw InvalidArgument("one write to a console at a time");
  writing_.emplace(Writing{std::move(bytes), 0, std::move(done)});
  arm();
}

void Console::arm() {
  int events = 0;
  if (reading_) events |= VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_HANGUP | VIR_STREAM_EVENT_ERROR;
  if (writing_) events |= VIR_STREAM_EVENT_WRITABLE | VIR_STREAM_EVENT_HANGUP | VIR_STREAM_EVENT_ERROR;
  if (virStreamEventUpdateCallback(stream_.get(), events) < 0) virResetLastError();
}

void Console::on_ready(int events) {
  Read read;
  Written written;
  Bytes bytes;
  bool ended = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const bool broken = (events & (VIR_STREAM_EVENT_HANGUP | VIR_STREAM_EVENT_ERROR)) != 0;
    if (reading_ && (broken || (events & VIR_STREAM_EVENT_READABLE) != 0)) {
      bytes.resize(kChunk);
      const int count = virStreamRecv(stream_.get(), reinterpret_cast<char*>(bytes.data()), kChunk);
      // QEMU's end of a pty that is gone reads as an error: for us that is the end as well.
      if (count < 0) virResetLastError();
      bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
      if (count <= 0 && (count != kWouldBlock || broken)) ended_ = true;
      if (count > 0 || ended_) read = std::exchange(reading_, nullptr);
    } else if (broken) {
      ended_ = true;
    }
    const std::size_t left = writing_ ? writing_->bytes.size() - writing_->sent : 0;
    if (left > 0 && !ended_ && (events & VIR_STREAM_EVENT_WRITABLE) != 0) {
      const char* const rest = reinterpret_cast<const char*>(writing_->bytes.data()) + writing_->sent;
      const int count = virStreamSend(stream_.get(), rest, left);
      if (count > 0) {
        writing_->sent += static_cast<std::size_t>(count);
      } else if (count != kWouldBlock) {
        virResetLastError();
        ended_ = true;
      }
    }
    if (writing_ && (ended_ || writing_->sent == writing_->bytes.size())) {
      written = std::move(writing_->done);
      writing_.reset();
    }
    if (ended_ && reading_) read = std::exchange(reading_, nullptr);
    ended = ended_;
    arm();
  }
  if (read) read(std::move(bytes), nullptr);
  if (written) {
    written(ended ? std::make_exception_ptr(Closed("the console has ended")) : nullptr);
  }
}

void Console::close() {
  Read read;
  Written written;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    read = std::exchange(reading_, nullptr);
    if (writing_) written = std::move(writing_->done);
    writing_.reset();
  }
  if (read) read({}, nullptr);
  if (written) written(std::make_exception_ptr(Closed("the console is closed")));
  // Also after the connection's close(): the stream holds libvirt's side of it, and would else hold it for
  // ever.
  virStreamEventRemoveCallback(stream_.get());
  virStreamAbort(stream_.get());
  virResetLastError();
}

}  // namespace node_compute
