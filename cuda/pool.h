// Device memory in blocks that are kept and reused. A captured graph has a pool of its own, because it will use the
// same addresses at each replay.
#pragma once
#include <map>
#include <memory>
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
  /// Blocks that are out.
  i64 lent() const { return lent_; }

 private:
  std::map<i64, std::vector<void*>> free_;  // by size
  i64 cached_ = 0, lent_ = 0;
};

/// Destroys a pool once its last block has come back: tensors may outlive the graph in which they were made.
void retire(std::unique_ptr<Pool> pool);

/// While it lives, memory asked for comes from `pool`, and what is released to other pools is put into `held`. For the
/// capture of a graph.
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
  /// Blocks of other pools that were released during the capture: the graph keeps them as long as it lives, then gives
  /// them back.
  std::vector<Block> held;
};
void give_back(std::vector<PoolScope::Block>& held);

}  // namespace moegrad::cuda
