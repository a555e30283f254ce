#include "engine/errors.h"

#include "host_api.h"

namespace cuda_on_cpu {
namespace {

struct Error {
  cudaError_t code = cudaSuccess;
  std::string details;
};
thread_local Error last;           // with details
thread_local cudaError_t pending;  // for cudaGetLastError, which takes it away
thread_local std::string answer;   // of cudaGetErrorString
Error for_good;

}  // namespace

std::mutex& Lock::mutex() {
  static std::mutex only;
  return only;
}

cudaError_t fail(cudaError_t code, const std::string& details) {
  last = {code, details};
  pending = code;
  return code;
}
cudaError_t fail_for_good(cudaError_t code, const std::string& details) {
  if (!for_good.code) for_good = {code, details};
  return fail(code, details);
}
cudaError_t sticky() {
  if (for_good.code) last = for_good, pending = for_good.code;
  return for_good.code;
}
void recover() {
  const Lock lock;
  for_good = {};
  pending = cudaSuccess;
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

cudaError_t cudaPeekAtLastError() {
  const Lock lock;
  return sticky() ? sticky() : pending;
}
cudaError_t cudaGetLastError() {
  const cudaError_t code = cudaPeekAtLastError();
  pending = cudaSuccess;
  return code;
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define ERROR(NAME, VALUE, TEXT) \
  case NAME: return #NAME;
    CUDA_ON_CPU_ERRORS(ERROR)
#undef ERROR
  }
  return "unrecognized error code";
}
static const char* plain_text(cudaError_t error) {
  switch (error) {
#define ERROR(NAME, VALUE, TEXT) \
  case NAME: return TEXT;
    CUDA_ON_CPU_ERRORS(ERROR)
#undef ERROR
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaSuccess || error != last.code || last.details.empty()) return plain_text(error);
  answer = std::string(plain_text(error)) + ": " + last.details;
  return answer.c_str();
}
