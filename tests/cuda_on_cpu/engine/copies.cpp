#include "engine/copies.h"

#include <cstddef>
#include <vector>

#include "cuda_pipeline_primitives.h"
#include "engine/block.h"

namespace cuda_on_cpu {
namespace {

struct Begun {
  AsyncCopy copy;
  std::size_t group;
};
struct OfThread {
  std::vector<Begun> begun;
  std::size_t waited_for = 0, groups = 0;  // copies; groups that are complete
};
OfThread of_threads[kMaxThreads];
bool any;  // in this block

OfThread& mine() { return of_threads[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)]; }

}  // namespace

void copies::begin_block() {
  if (!any) return;
  for (OfThread& t : of_threads) t.begun.clear(), t.waited_for = t.groups = 0;
  any = false;
}

void begin_copy(const AsyncCopy& copy) {
  any = true;
  mine().begun.push_back({copy, mine().groups});
}
void commit_copies() {
  any = true;
  ++mine().groups;
}
bool take_copy(std::size_t prior, AsyncCopy* copy) {
  OfThread& t = mine();
  if (t.waited_for == t.begun.size() || t.begun[t.waited_for].group + prior >= t.groups) return false;
  *copy = t.begun[t.waited_for++].copy;
  if (t.waited_for == t.begun.size()) t.begun.clear(), t.waited_for = 0;
  return true;
}

}  // namespace cuda_on_cpu
