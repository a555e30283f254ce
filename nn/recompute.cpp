#include "nn/recompute.h"

#include <memory>
#include <optional>

#include "core/autograd.h"

namespace moegrad {
namespace {

using ContextFunction = std::function<std::vector<Tensor>(const std::vector<Tensor>&, Context&)>;

// One pass of fn in a child context, which begins as the caller's did: the same settings, draws and sums of losses.
// Tensors go in and out: xs and the losses so far, ys and the losses that fn added to.
class Pass {
 public:
  Pass(ContextFunction fn, const Context& begin) : fn_(std::move(fn)), begin_(begin) {
    for (const auto& [name, loss] : begin.losses) names_before_.push_back(name);
    begin_.losses.clear();  // they come as arguments
    begin_.records.clear();
    if (begin.random) draws_ = *begin.random;
  }

  std::vector<Tensor> run(const std::vector<Tensor>& inputs) {
    Context child = begin_;
    std::optional<Random> draws = draws_;
    child.random = draws ? &*draws : nullptr;
    const auto losses = inputs.end() - static_cast<std::ptrdiff_t>(names_before_.size());
    for (std::size_t i = 0; i < names_before_.size(); ++i)
      child.losses[names_before_[i]] = losses[static_cast<std::ptrdiff_t>(i)];
    const std::map<std::string, Tensor> before = child.losses;
    if (!caller_) child.watch = nullptr;
    const NameScope layer(child.path);
    std::vector<Tensor> ys = fn_({inputs.begin(), losses}, child);
    count_ = ys.size();
    changed_.clear();
    for (const auto& [name, loss] : child.losses) {
      const auto at = before.find(name);
      if (at != before.end() && at->second.ref() == loss.ref()) continue;
      changed_.push_back(name);
      ys.push_back(loss);
    }
    if (caller_) {
      caller_->records.insert(caller_->records.end(), child.records.begin(), child.records.end());
      if (draws) *caller_->random = *draws;
      caller_->replayed.used = child.replayed.used;
    }
    return ys;
  }

  // The first pass leaves its marks on the caller's context, later ones do not.
  std::vector<Tensor> first(const std::shared_ptr<Pass>& self, const std::vector<Tensor>& xs, Context& context) {
    std::vector<Tensor> inputs = xs;
    for (const std::string& name : names_before_) inputs.push_back(context.losses.at(name));
    caller_ = &context;
    struct Done {
      Pass& pass;
      ~Done() { pass.caller_ = nullptr; }
    } done{*this};
    std::vector<Tensor> ys = checkpoint([self](const std::vector<Tensor>& in) { return self->run(in); }, inputs);
    for (std::size_t i = 0; i < changed_.size(); ++i) context.losses[changed_[i]] = ys[count_ + i];
    ys.resize(count_);
    return ys;
  }

 private:
  ContextFunction fn_;
  Context begin_;
  std::optional<Random> draws_;
  std::vector<std::string> names_before_, changed_;
  std::size_t count_ = 0;
  Context* caller_ = nullptr;
};

}  // namespace

std::vector<Tensor> checkpoint(const ContextFunction& fn, const std::vector<Tensor>& xs, Context& context) {
  if (!recording()) return fn(xs, context);
  const auto pass = std::make_shared<Pass>(fn, context);
  return pass->first(pass, xs, context);
}

Tensor checkpoint(const std::function<Tensor(const Tensor&, Context&)>& fn, const Tensor& x, Context& context) {
  const ContextFunction many = [fn](const std::vector<Tensor>& in, Context& c) {
    return std::vector<Tensor>{fn(in[0], c)};
  };
  return checkpoint(many, {x}, context)[0];
}

}  // namespace moegrad
