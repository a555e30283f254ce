#include "nn/inspect/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/atomic_file.h"
#include "nn/inspect/report/bar_chart.h"
#include "nn/inspect/report/depth_map.h"
#include "nn/inspect/report/heat_map.h"
#include "nn/inspect/report/html.h"
#include "nn/inspect/report/line_chart.h"
#include "nn/inspect/report/routes.h"
#include "nn/inspect/report/script.h"
#include "nn/inspect/report/style.h"
#include "nn/inspect/report/table.h"

namespace moegrad {
namespace {

using report::Drawn;
using report::escape;

// A figure on its way into the page.
struct Placed {
  std::string id, title, note;
  Drawn drawn;
};

Placed place(const Figure& figure, const std::string& id) {
  return std::visit(
      [&]<class F>(const F& f) {
        if constexpr (std::is_same_v<F, Drawing>)
          return Placed{id, f.title, f.note, report::draw(f, id + "-")};
        else
          return Placed{id, f.title, f.note, report::draw(f)};
      },
      figure);
}

// Two figures share a line. One that is left alone in a line gets all of it.
void widen(std::vector<Placed>& figures) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= figures.size(); ++i) {
    if (i < figures.size() && !figures[i].drawn.wide) continue;
    if ((i - begin) % 2 == 1) figures[i - 1].drawn.wide = true;
    begin = i + 1;
  }
}

std::string figure_html(const Placed& p) {
  const bool empty = p.drawn.body.empty();
  std::string out =
      fmt::format("<figure id=\"{}\" data-figure=\"{}\" data-points=\"{}\"{}{}>", p.id, p.drawn.kind, p.drawn.points,
                  empty ? " data-empty=\"true\"" : "", p.drawn.wide ? " class=\"wide\"" : "");
  out += fmt::format("<figcaption>{}</figcaption>\n", escape(p.title));
  out += empty ? "<div class=\"empty\">no data yet</div>\n" : p.drawn.body;
  const std::string gap = p.note.empty() || p.drawn.remark.empty() ? "" : " ";
  if (const std::string note = p.note + gap + p.drawn.remark; !note.empty())
    out += fmt::format("<p class=\"note\">{}</p>\n", escape(note));
  return out + p.drawn.data + "</figure>\n";
}

std::string head_html(const Report& r, i64 categories) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n"
      "<link rel=\"icon\" href=\"data:,\">\n<style>\n{}</style>\n</head>\n",
      escape(r.title), report::style(categories));
}

// A number stands out from its unit.
std::string fact_html(const std::string& value) {
  const std::size_t space = value.find(' ');
  const bool number = !value.empty() && value.find_first_of("0123456789") < space;
  if (!number || space == std::string::npos || value.size() - space < 6) return escape(value);
  return fmt::format("{} <small>{}</small>", escape(value.substr(0, space)), escape(value.substr(space + 1)));
}

std::string header_html(const Report& r) {
  std::string out = fmt::format("<header>\n<h1>{}</h1>\n", escape(r.title));
  if (!r.subtitle.empty()) out += fmt::format("<p class=\"sub\">{}</p>\n", escape(r.subtitle));
  out += "<button type=\"button\" class=\"theme\" hidden>Light / dark</button>\n</header>\n";
  if (!r.facts.empty()) {
    out += "<dl class=\"facts\">";
    for (const auto& [name, value] : r.facts)
      out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), fact_html(value));
    out += "</dl>\n";
  }
  if (!r.command.empty())
    out += fmt::format(
        "<div class=\"command\"><code>{}</code><button type=\"button\" class=\"copy\" hidden>Copy</button></div>\n",
        escape(r.command));
  return out;
}

std::string nav_html(const Report& r) {
  std::string out = "<nav aria-label=\"Sections\">";
  for (std::size_t i = 0; i < r.sections.size(); ++i)
    out += fmt::format("<a href=\"#section-{}\">{}</a>", i + 1, escape(r.sections[i].heading));
  return out + "</nav>\n";
}

std::string section_html(const Report::Section& section, std::size_t number, const std::vector<Placed>& figures) {
  std::string out = fmt::format("<section id=\"section-{}\">\n<h2>{}</h2>\n", number, escape(section.heading));
  if (!section.text.empty()) out += fmt::format("<p class=\"text\">{}</p>\n", escape(section.text));
  out += "<div class=\"grid\">\n";
  for (const Placed& p : figures) out += figure_html(p);
  return out + "</div>\n</section>\n";
}

}  // namespace

std::string Report::html() const {
  std::string main;
  i64 categories = 1;
  std::size_t id = 0;
  for (std::size_t s = 0; s < sections.size(); ++s) {
    std::vector<Placed> placed;
    for (const Figure& f : sections[s].figures) placed.push_back(place(f, fmt::format("figure-{}", ++id)));
    for (const Placed& p : placed) categories = std::max(categories, p.drawn.categories);
    widen(placed);
    main += section_html(sections[s], s + 1, placed);
  }
  return head_html(*this, categories) + "<body>\n<div class=\"wrap\">\n" + header_html(*this) +
         "<div class=\"body\">\n" + nav_html(*this) + "<main>\n" + main +
         "</main>\n</div>\n<footer>Written by moegrad.</footer>\n</div>\n<script>" + report::script() +
         "</script>\n</body>\n</html>\n";
}

void Report::write(const std::string& path) const {
  const std::string page = html();
  AtomicFile file(path);
  file.write(page.data(), page.size());
  file.commit();
}

}  // namespace moegrad
