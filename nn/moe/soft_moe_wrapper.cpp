#include "nn/moe/soft_moe_wrapper.h"

#include "ops/normalize.h"

namespace moegrad {
namespace {

std::unique_ptr<Router> make_router(i64 width, const SoftMoEWrapper::Options& o, Init& init) {
  return std::make_unique<SoftRouter>(
      width,
      SoftRouter::Options{.experts = o.experts,
                          .slots = o.slots,
                          .normalize_tokens = o.normalize && !o.average_normalized,  // else they are already
                          .slot_norm = o.normalize ? SoftRouter::SlotNorm::l2 : SoftRouter::SlotNorm::none},
      init);
}

std::unique_ptr<Experts> make_experts(i64 experts, const MakeLayer& make, Init& init) {
  if (!make) throw Error("SoftMoEWrapper: it must have something that makes layers; got none");
  std::vector<std::unique_ptr<Layer>> layers;
  for (i64 e = 0; e < experts; ++e) layers.push_back(make(init));
  return std::make_unique<ModuleExperts>(std::move(layers));
}

}  // namespace

// In braces: what draws initial values comes in this order.
SoftMoEWrapper::SoftMoEWrapper(i64 width, Options o, const MakeLayer& make, Init& init)
    : MoE{make_router(width, o, init), make_experts(o.experts, make, init)}, options(o) {}

SoftMoEWrapper::SoftMoEWrapper(i64 width, Options o, std::unique_ptr<Experts> batch, Init& init)
    : MoE(make_router(width, o, init), std::move(batch)), options(o) {}

Tensor SoftMoEWrapper::forward(const Tensor& x, Context& context) const {
  return MoE::forward(options.normalize && options.average_normalized ? normalize(x, 2, -1) : x, context);
}

void SoftMoEWrapper::members(Members& m) { members_as(m, "", "experts"); }

}  // namespace moegrad
