// In which order threads and blocks take their turns.
#pragma once
#include <random>

#include "cuda_on_cpu.h"

namespace cuda_on_cpu {

struct Turns {
  Order order = Order::forward;
  std::minstd_rand random;
  Turns();  // by CUDA_ON_CPU_ORDER
};
extern Turns turns;

}  // namespace cuda_on_cpu
