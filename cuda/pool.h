// Device memory in blocks that are kept and reused. A captured graph has a pool of its own, because it will use the
// same addresses at each replay.
#pragma once
#include <map>
#include <vector>

#include "core/fwd.h"

namespace moegrad::cuda {

class Pool {
 public:
  Pool() = default;
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void* take(i64 bytes);
  void give_back(void* data, i64 bytes);
  /// Returns what nobody uses to the driver.
  void trim();
  i64 cached_bytes() const { return cached_; }

 private:
  std::map<i64, std::vector<void*>> free_;  // by size
  i64 cached_ = 0;
};

/// While it lives, memory asked for comes from `pool`, and what is released to other pools is held back until the
/// second half of its life ends: destroying `held`. For the capture of a graph.
class PoolScope {
 public:
  explicit PoolScope(Pool& pool);
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

  struct Block {
    void* data;
    i64 bytes;
    void* owner;
  };
  /// Blocks of other pools that were released during the capture: the graph keeps them as long as it lives.
  std::vector<Block> held;
};

}  // namespace moegrad::cuda
