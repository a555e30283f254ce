#include "nn/context.h"

#include <doctest/doctest.h>

#include "core/autograd.h"

using namespace moegrad;

TEST_CASE("context: losses of one name are summed and differentiable; records carry their layer's path") {
  Context context;
  Tensor x = scalar(2);
  x.requires_grad_();
  context.add_loss("balance", x);
  {
    Inside block(context, "blocks", 3);
    Inside layer(context, "feed_forward");
    context.add_loss("balance", x);
    context.add_loss("z", scalar(1));
    context.record("load", x);
  }
  context.record("load", x);
  CHECK(context.losses.at("balance").item() == 4);
  CHECK(grad(context.losses.at("balance"), {x})[0].item() == 2);
  CHECK(context.losses.size() == 2);
  CHECK(context.records[0].name == "blocks.3.feed_forward.load");
  CHECK(context.records[1].name == "load");
  CHECK_FALSE(context.records[0].tensor.requires_grad());
}

TEST_CASE("context: draws come from its stream; none and a loss that is no scalar are errors") {
  Context context;
  Inside layer(context, "dropout");
  CHECK_THROWS_WITH_AS(context.draw(),
                       "context: layer 'dropout.' needs random numbers; set Context::random to a Random", Error);
  CHECK_THROWS_WITH_AS(context.add_loss("z", zeros({2})),
                       "context: an auxiliary loss must be a scalar; got z [2] from dropout.", ShapeError);
  Random random(1);
  context.random = &random;
  CHECK(context.draw().number == 0);
  CHECK(context.draw().number == 1);
}
