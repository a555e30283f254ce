#include "cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace moegrad::cuda {
namespace {

constexpr i64 kAlign = 64;  // where a copy begins in a piece

void copy_async(void* to, const void* from, i64 bytes, cudaMemcpyKind kind, const char* what) {
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, stream()), what);
}

}  // namespace

void Staging::make() {
  if (pieces_[0].data) return;
  for (Piece& p : pieces_) {
    check(cudaMallocHost(reinterpret_cast<void**>(&p.data), static_cast<std::size_t>(bytes_)), "staging");
    check(cudaEventCreateWithFlags(&p.done, cudaEventDisableTiming), "staging");
  }
}

void Staging::finish(Piece& piece) { check(cudaEventRecord(piece.done, stream()), "staging"); }
void Staging::wait(Piece& piece) { check(cudaEventSynchronize(piece.done), "staging"); }

void Staging::send(void* to, const void* from, i64 bytes) {
  make();
  for (i64 done = 0; done < bytes;) {
    if (used_ >= bytes_) {
      finish(pieces_[current_]);
      current_ = 1 - current_;
      wait(pieces_[current_]);
      used_ = 0;
    }
    const i64 count = std::min(bytes - done, bytes_ - used_);
    char* const here = pieces_[current_].data + used_;
    std::memcpy(here, static_cast<const char*>(from) + done, static_cast<std::size_t>(count));
    copy_async(static_cast<char*>(to) + done, here, count, cudaMemcpyHostToDevice, "copy to the device");
    done += count;
    used_ += (count + kAlign - 1) / kAlign * kAlign;
  }
}

void Staging::receive(void* to, const void* from, i64 bytes) {
  make();
  const i64 pieces = (bytes + bytes_ - 1) / bytes_;
  const auto size = [&](i64 i) { return std::min(bytes_, bytes - i * bytes_); };
  for (i64 i = 0; i <= pieces; ++i) {
    if (i < pieces) {
      copy_async(pieces_[i % 2].data, static_cast<const char*>(from) + i * bytes_, size(i), cudaMemcpyDeviceToHost,
                 "copy to the host");
      finish(pieces_[i % 2]);
    }
    if (i == 0) continue;
    Piece& arrived = pieces_[(i - 1) % 2];
    wait(arrived);
    std::memcpy(static_cast<char*>(to) + (i - 1) * bytes_, arrived.data, static_cast<std::size_t>(size(i - 1)));
  }
}

}  // namespace moegrad::cuda
