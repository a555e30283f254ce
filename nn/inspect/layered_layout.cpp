#include "nn/inspect/layered_layout.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"

namespace moegrad {
namespace {

constexpr double kMargin = 12;      // around everything
constexpr double kGap = 16;         // between neighbours in a layer
constexpr double kThin = 8;         // the same where an arrow passes
constexpr double kFall = 20;        // between a layer and the next
constexpr double kTextHeight = 16;  // of the layers between those of boxes, where texts are
constexpr int kSweeps = 24;

std::size_t at(i64 i) { return static_cast<std::size_t>(i); }

// A box, or the place where an arrow passes a layer.
struct Vertex {
  double width = 0, height = 0, x = 0, key = 0;
  i64 row = 0;
  bool passes = false;
  std::vector<i64> up = {}, down = {};
};

// The longest path from every box to one without links.
std::vector<i64> distances(const std::vector<LayoutBox>& boxes, const std::vector<LayoutLink>& links) {
  std::vector<i64> distance(boxes.size(), 0);
  for (std::size_t round = 0; round <= boxes.size(); ++round) {
    bool changed = false;
    for (auto link = links.rbegin(); link != links.rend(); ++link)
      if (distance[at(link->from)] <= distance[at(link->to)]) {
        distance[at(link->from)] = distance[at(link->to)] + 1;
        changed = true;
      }
    if (!changed) return distance;
  }
  throw Error("layered_layout: links must not go in a circle; got links that do");
}

class Layering {
 public:
  explicit Layering(Layout& layout) : layout_(layout) {
    add_vertices();
    for (int sweep = 0; sweep < kSweeps; ++sweep) sort_rows(sweep % 2 == 0);
    place_rows();
    write_back();
  }

 private:
  void add_vertices();
  void add_passes(std::size_t link);
  i64 add(Vertex v);
  void join(i64 upper, i64 lower);
  void sort_rows(bool downwards);
  void place_rows();
  void resolve(const std::vector<i64>& row, const std::vector<double>& wanted);
  double apart(i64 a, i64 b) const;
  void write_back();
  void write_way(std::size_t link, const std::vector<double>& tops, const std::vector<double>& heights);
  void spread_ends();

  Layout& layout_;
  std::vector<Vertex> vertices_;          // boxes first
  std::vector<std::vector<i64>> rows_;    // boxes in even rows, texts in odd ones
  std::vector<std::vector<i64>> passes_;  // of each link, from above to below
};

i64 Layering::add(Vertex v) {
  const auto id = static_cast<i64>(vertices_.size());
  v.x = static_cast<double>(rows_[at(v.row)].size());  // its place in the row, until rows are placed
  rows_[at(v.row)].push_back(id);
  vertices_.push_back(std::move(v));
  return id;
}

void Layering::join(i64 upper, i64 lower) {
  vertices_[at(upper)].down.push_back(lower);
  vertices_[at(lower)].up.push_back(upper);
}

void Layering::add_vertices() {
  const std::vector<i64> distance = distances(layout_.boxes, layout_.links);
  const i64 last = distance.empty() ? 0 : *std::max_element(distance.begin(), distance.end());
  rows_.resize(at(2 * last + 1));
  for (std::size_t b = 0; b < layout_.boxes.size(); ++b)
    add({.width = layout_.boxes[b].width, .height = layout_.boxes[b].height, .row = 2 * (last - distance[b])});
  for (std::size_t l = 0; l < layout_.links.size(); ++l) add_passes(l);
}

void Layering::add_passes(std::size_t l) {
  const LayoutLink& link = layout_.links[l];
  const i64 first = vertices_[at(link.from)].row + 1, last = vertices_[at(link.to)].row - 1;
  i64 above = link.from;
  passes_.emplace_back();
  for (i64 row = first; row <= last; ++row) {
    const i64 here = add({.width = row == last ? link.width : 0, .height = kTextHeight, .row = row, .passes = true});
    join(above, here);
    passes_.back().push_back(here);
    above = here;
  }
  join(above, link.to);
}

// Every row in the order of the mean places of its vertices' neighbours in the row before it.
void Layering::sort_rows(bool downwards) {
  const auto sort_row = [&](std::vector<i64>& row) {
    for (const i64 v : row) {
      Vertex& vertex = vertices_[at(v)];
      const std::vector<i64>& others = downwards ? vertex.up : vertex.down;
      double sum = 0;
      for (const i64 o : others) sum += vertices_[at(o)].x;
      vertex.key = others.empty() ? vertex.x : sum / static_cast<double>(others.size());
    }
    std::stable_sort(row.begin(), row.end(), [&](i64 a, i64 b) { return vertices_[at(a)].key < vertices_[at(b)].key; });
    for (std::size_t i = 0; i < row.size(); ++i) vertices_[at(row[i])].x = static_cast<double>(i);
  };
  if (downwards)
    std::for_each(rows_.begin(), rows_.end(), sort_row);
  else
    std::for_each(rows_.rbegin(), rows_.rend(), sort_row);
}

double Layering::apart(i64 a, i64 b) const {
  const Vertex &p = vertices_[at(a)], &q = vertices_[at(b)];
  return (p.width + q.width) / 2 + (p.passes || q.passes ? kThin : kGap);
}

// Near the wanted places, in order and apart: the mean of what fits when everything is pushed to the right only, and to
// the left only, which keeps distances, too.
void Layering::resolve(const std::vector<i64>& row, const std::vector<double>& wanted) {
  std::vector<double> right = wanted, left = wanted;
  for (std::size_t i = 1; i < row.size(); ++i) right[i] = std::max(right[i], right[i - 1] + apart(row[i - 1], row[i]));
  for (std::size_t i = row.size() - 1; i-- > 0;) left[i] = std::min(left[i], left[i + 1] - apart(row[i], row[i + 1]));
  for (std::size_t i = 0; i < row.size(); ++i) vertices_[at(row[i])].x = (left[i] + right[i]) / 2;
}

// In turn below what is above, and above what is below, so that chains stand straight.
void Layering::place_rows() {
  for (const std::vector<i64>& row : rows_)
    if (!row.empty()) resolve(row, std::vector<double>(row.size(), 0));
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    const bool downwards = sweep % 2 == 0;
    const auto place = [&](const std::vector<i64>& row) {
      std::vector<double> wanted;
      for (const i64 v : row) {
        const Vertex& vertex = vertices_[at(v)];
        const std::vector<i64>& others = downwards ? vertex.up : vertex.down;
        double sum = 0;
        for (const i64 o : others) sum += vertices_[at(o)].x;
        wanted.push_back(others.empty() ? vertex.x : sum / static_cast<double>(others.size()));
      }
      if (!row.empty()) resolve(row, wanted);
    };
    if (downwards)
      std::for_each(rows_.begin(), rows_.end(), place);
    else
      std::for_each(rows_.rbegin(), rows_.rend(), place);
  }
}

void Layering::write_back() {
  std::vector<double> tops, heights;
  double y = kMargin;
  double left = vertices_.empty() ? 0 : vertices_[0].x, right = left;
  for (const std::vector<i64>& row : rows_) {
    double height = 0;
    for (const i64 v : row) {
      const Vertex& vertex = vertices_[at(v)];
      height = std::max(height, vertex.height);
      left = std::min(left, vertex.x - vertex.width / 2);
      right = std::max(right, vertex.x + vertex.width / 2);
    }
    tops.push_back(y);
    heights.push_back(height);
    y += height + kFall;
  }
  for (Vertex& v : vertices_) v.x += kMargin - left;
  layout_.width = right - left + 2 * kMargin;
  layout_.height = y - kFall + kMargin;
  for (std::size_t b = 0; b < layout_.boxes.size(); ++b) {
    const Vertex& v = vertices_[b];
    layout_.boxes[b].x = v.x;
    layout_.boxes[b].y = tops[at(v.row)] + heights[at(v.row)] / 2;
  }
  for (std::size_t l = 0; l < layout_.links.size(); ++l) write_way(l, tops, heights);
  spread_ends();
}

void Layering::write_way(std::size_t l, const std::vector<double>& tops, const std::vector<double>& heights) {
  LayoutLink& link = layout_.links[l];
  const LayoutBox &from = layout_.boxes[at(link.from)], &to = layout_.boxes[at(link.to)];
  const std::size_t first = at(vertices_[at(link.from)].row), last = at(vertices_[at(link.to)].row);
  link.way = {{from.x, from.y + from.height / 2}, {from.x, tops[first] + heights[first]}};
  for (const i64 pass : passes_[l]) {
    const Vertex& v = vertices_[at(pass)];
    const double top = tops[at(v.row)], height = heights[at(v.row)];
    link.way.push_back({v.x, top});
    link.way.push_back({v.x, top + height});
    link.text = {v.x, top + height / 2};
  }
  link.way.push_back({to.x, tops[last]});
  link.way.push_back({to.x, to.y - to.height / 2});
}

// Arrows that end at one box end beside each other, in the order in which they come.
void Layering::spread_ends() {
  constexpr double kBeside = 14;
  std::vector<std::vector<LayoutLink*>> ends(layout_.boxes.size());
  for (LayoutLink& link : layout_.links) ends[at(link.to)].push_back(&link);
  for (std::size_t b = 0; b < ends.size(); ++b) {
    std::vector<LayoutLink*>& list = ends[b];
    std::stable_sort(list.begin(), list.end(),
                     [](const LayoutLink* p, const LayoutLink* q) { return p->text.x < q->text.x; });
    const auto count = static_cast<double>(list.size());
    const double step = std::min(kBeside, std::max(0.0, layout_.boxes[b].width - kBeside) / std::max(1.0, count));
    for (std::size_t i = 0; i < list.size(); ++i)
      for (const std::size_t back : {1, 2})
        list[i]->way[list[i]->way.size() - back].x += (static_cast<double>(i) - (count - 1) / 2) * step;
  }
}

}  // namespace

Layout layered_layout(std::vector<LayoutBox> boxes, std::vector<LayoutLink> links) {
  Layout layout{std::move(boxes), std::move(links)};
  const Layering done(layout);
  return layout;
}

}  // namespace moegrad
