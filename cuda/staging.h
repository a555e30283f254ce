// Pinned host memory, through which values travel between host and device. The device reads and writes it by itself;
// with ordinary memory the driver would make the host wait for all earlier work first.
#pragma once
#include "cuda/runtime.h"

namespace moegrad::cuda {

/// Two pieces of pinned memory, used in turn. Whoever calls holds a lock.
class Staging {
 public:
  /// Bytes of a piece.
  explicit Staging(i64 bytes) : bytes_(bytes) {}

  /// Returns once `from` may change. Waits for the device only where both pieces are full of what it has not taken yet.
  void send(void* to, const void* from, i64 bytes);
  /// Returns once the values have arrived; while one piece is emptied, the other is filled.
  void receive(void* to, const void* from, i64 bytes);

 private:
  struct Piece {
    char* data = nullptr;
    cudaEvent_t done = nullptr;  // the device has done all that was asked for with this piece
  };
  void make();
  void finish(Piece& piece);  // notes that no more is asked for
  void wait(Piece& piece);    // until it may be used again

  i64 bytes_, used_ = 0;  // of the current piece, while sending
  Piece pieces_[2];
  int current_ = 0;
};

}  // namespace moegrad::cuda
