#include "engine/turns.h"

#include <cstdlib>
#include <cstring>

namespace cuda_on_cpu {

Turns::Turns() {
  const char* s = std::getenv("CUDA_ON_CPU_ORDER");
  if (!s) return;
  if (std::strncmp(s, "reverse", 7) == 0) order = Order::reverse;
  if (std::strncmp(s, "warps", 5) == 0) order = Order::warps;
  if (std::strncmp(s, "random", 6) == 0)
    order = Order::random, random.seed(s[6] == ':' ? unsigned(std::atol(s + 7)) : 1);
}
Turns turns;

Order order() { return turns.order; }
void set_order(Order order, std::uint64_t seed) {
  turns.order = order;
  turns.random.seed(unsigned(seed) + 1);
}

}  // namespace cuda_on_cpu
