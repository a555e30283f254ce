#include "nn/inspect/report/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/inspect/report/html.h"
#include "nn/inspect/report/png.h"

namespace moegrad::report {
namespace {

struct Who {
  const char* kind;
  const std::string& title;
};

void check(const Who& who, const std::vector<LayerRoutes>& layers, std::size_t things) {
  for (const LayerRoutes& l : layers) {
    if (l.expert.size() != things || l.weight.size() != things || (l.detail.size() != things && !l.detail.empty()))
      misfit(who.kind, who.title, "every layer must have an expert, a weight and a detail for each of its things",
             fmt::format("{} things and layer '{}' with {}, {} and {}", things, l.layer, l.expert.size(),
                         l.weight.size(), l.detail.size()));
    for (const i64 e : l.expert)
      if (e < -1 || e >= l.experts)
        misfit(who.kind, who.title, "experts must be in [-1, experts)",
               fmt::format("{} of {} in layer '{}'", e, l.experts, l.layer));
  }
}

i64 most_experts(const std::vector<LayerRoutes>& layers) {
  i64 most = 0;
  for (const LayerRoutes& l : layers) most = std::max(most, l.experts);
  return most;
}

// A weight as one of the strengths that the style knows.
int strength(double weight) {
  return std::isfinite(weight) ? static_cast<int>(std::lround(4 * std::clamp(weight, 0.0, 1.0))) : 4;
}

// The classes of a thing under a layer.
std::string classes(const std::vector<LayerRoutes>& layers, std::size_t i) {
  if (layers.empty() || layers[0].expert[i] < 0) return "none";
  return fmt::format("e{} w{}", layers[0].expert[i], strength(layers[0].weight[i]));
}

// A button for each layer, if there are several; what else belongs to the row.
std::string layer_buttons(const std::vector<LayerRoutes>& layers, const std::string& more = "") {
  if (layers.size() < 2 && more.empty()) return "";
  std::string out = "<div class=\"layers\" role=\"group\" aria-label=\"Layer\">";
  if (layers.size() > 1) out += "<span>Layer</span>";
  for (std::size_t i = 0; i < layers.size() && layers.size() > 1; ++i)
    out += fmt::format("<button type=\"button\" aria-pressed=\"{}\" data-layer=\"{}\">{}</button>",
                       i == 0 ? "true" : "false", i, escape(layers[i].layer));
  return out + more + "</div>\n";
}

// Experts with their colours; the pointer, or the keyboard, on one brings out what is its.
std::string expert_list(i64 experts) {
  std::string out = "<div class=\"experts\" role=\"group\" aria-label=\"Experts\"><span>Expert</span>";
  for (i64 e = 0; e < experts; ++e)
    out += fmt::format("<button type=\"button\" class=\"e{0}\" aria-pressed=\"false\" data-expert=\"{0}\">{0}</button>",
                       e);
  return out + "</div>\n";
}

nlohmann::json layer_data(const std::vector<LayerRoutes>& layers) {
  nlohmann::json out = nlohmann::json::array();
  for (const LayerRoutes& l : layers) {
    nlohmann::json strengths = nlohmann::json::array(), detail = nlohmann::json::array();
    for (const double w : l.weight) strengths.push_back(strength(w));
    for (const std::string& d : l.detail) detail.push_back(clean(d));
    std::vector<double> weight = l.weight;
    for (double& w : weight) w = std::round(w * 1000) / 1000;
    out.push_back({{"n", clean(l.layer)}, {"e", l.expert}, {"w", numbers(weight)}, {"s", strengths}, {"d", detail}});
  }
  return out;
}

std::string characters_html(const RoutedText& text) {
  std::string out = fmt::format("<div class=\"chars\" role=\"group\" aria-label=\"{}\">", escape(text.title));
  for (std::size_t i = 0; i < text.characters.size(); ++i) {
    const std::string& c = text.characters[i];
    out += fmt::format("<b class=\"{}\">{}</b>", classes(text.layers, i), escape(visible(c)));
    for (const char byte : c)
      if (byte == '\n') out += "<br>";
  }
  return out + "</div>\n";
}

std::string picture_html(const RoutedImages& images, std::size_t p) {
  const RoutedImages::Picture& picture = images.pictures[p];
  std::string out = fmt::format("<div class=\"pic\"><div class=\"view\"><img alt=\"{}\" src=\"{}\"{}>",
                                escape(picture.caption), png_uri(picture.height, picture.width, 3, picture.rgb),
                                picture.width < 160 ? " class=\"small\"" : "");
  if (!images.layers.empty()) {
    out += fmt::format("<div class=\"patches\" style=\"--nx:{};--ny:{}\">", images.columns, images.rows);
    const std::size_t n = static_cast<std::size_t>(images.rows * images.columns);
    for (std::size_t i = p * n; i < (p + 1) * n; ++i)
      out += fmt::format("<b class=\"{}\"></b>", classes(images.layers, i));
    out += "</div>";
  }
  return out + fmt::format("</div><div class=\"cap\">{}</div></div>", escape(picture.caption));
}

void check(const RoutedImages& images) {
  for (const RoutedImages::Picture& p : images.pictures)
    if (p.height < 1 || p.width < 1 || static_cast<i64>(p.rgb.size()) != p.height * p.width * 3)
      misfit("routed images", images.title, "a picture must have height x width x 3 bytes",
             fmt::format("{} x {} with {} in '{}'", p.height, p.width, p.rgb.size(), p.caption));
  check({"routed images", images.title}, images.layers,
        images.pictures.size() * static_cast<std::size_t>(images.rows * images.columns));
}

}  // namespace

Drawn draw(const RoutedText& text) {
  check({"routed text", text.title}, text.layers, text.characters.size());
  Drawn drawn{.kind = "routed-text", .categories = most_experts(text.layers), .wide = true};
  drawn.points = static_cast<i64>(text.characters.size() * text.layers.size());
  if (drawn.points == 0) return drawn;
  nlohmann::json names = nlohmann::json::array();
  for (const std::string& c : text.characters) names.push_back(c == " " ? "\u2423" : visible(c));
  drawn.body = layer_buttons(text.layers) + expert_list(drawn.categories) + characters_html(text);
  drawn.data = data_element({{"names", names}, {"layers", layer_data(text.layers)}});
  return drawn;
}

Drawn draw(const RoutedImages& images) {
  check(images);
  Drawn drawn{.kind = "routed-images", .categories = most_experts(images.layers), .wide = true};
  const i64 patches = static_cast<i64>(images.pictures.size()) * images.rows * images.columns;
  drawn.points = images.layers.empty() ? static_cast<i64>(images.pictures.size())
                                       : patches * static_cast<i64>(images.layers.size());
  if (drawn.points == 0) return drawn;
  if (!images.layers.empty())
    drawn.body =
        layer_buttons(images.layers,
                      "<button type=\"button\" class=\"alone\" aria-pressed=\"false\">Pictures alone</button>") +
        expert_list(drawn.categories);
  drawn.body += "<div class=\"pics\">";
  for (std::size_t p = 0; p < images.pictures.size(); ++p) drawn.body += picture_html(images, p);
  drawn.body += "</div>\n";
  drawn.data = data_element({{"names", nlohmann::json::array()},
                             {"columns", images.columns},
                             {"patches", images.rows * images.columns},
                             {"layers", layer_data(images.layers)}});
  return drawn;
}

}  // namespace moegrad::report
