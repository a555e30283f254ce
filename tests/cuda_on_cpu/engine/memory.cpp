#include "engine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "engine/errors.h"
#include "engine/sanitizers.h"
#include "host_api.h"

namespace cuda_on_cpu::memory {
namespace {

constexpr std::size_t kGuard = 256;     // before and behind each allocation
constexpr std::size_t kHuge = 2 << 20;  // changes of protection are cheap on huge pages
constexpr unsigned char kFill = 0xff;

struct Block {
  std::size_t whole = 0;  // with guard zones
  std::size_t bytes = 0;  // what was asked for
  bool live = false;
  bool noted = false;
  bool pending = false;  // in to_free
};
using Blocks = std::map<char*, Block>;  // by address, without gaps between them

char* arena;
char* used_end;  // blocks lie in [arena, used_end)
char* open_end;  // [arena, open_end) is protected and opened; a multiple of kHuge
Blocks blocks;
std::multimap<std::size_t, char*> free_blocks;  // by size
std::vector<char*> noted;
// What is to be done when the memory is next opened, which costs more than all else: changes of protection are kept few.
struct Fresh {
  char* at;
  std::size_t whole;
  bool used_before;
};
std::vector<Fresh> to_fill;  // or, used before, to look whether they still are
std::vector<char*> to_free;  // blocks
std::size_t in_use;
std::size_t next_to_check;
int accesses;
std::map<char*, std::size_t> pinned;
std::string damage;  // found where it could not be reported

bool is_free(const Block& b) { return !b.live && !b.pending; }
char* user(char* block) { return block + kGuard; }

void protect(int how) {
  if (open_end > arena && mprotect(arena, std::size_t(open_end - arena), how) != 0) abort();
}

void create_arena() {
  void* p = mmap(nullptr, kTotal + kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) abort();
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  arena = used_end = open_end = static_cast<char*>(p) + (kHuge - address % kHuge) % kHuge;
  catch_crashes();
}

bool filled(const char* p, std::size_t n) {
  return n == 0 || (static_cast<unsigned char>(*p) == kFill && std::memcmp(p, p + 1, n - 1) == 0);
}

std::string describe(const char* where, const Block& b) {
  return "device code has written " + std::string(where) + " an allocation of " + std::to_string(b.bytes) + " bytes";
}

// The guard zones around a live block, which are repaired.
std::string damaged(char* at, const Block& b) {
  char *begin = user(at), *end = begin + b.bytes, *block_end = at + b.whole;
  std::string found;
  if (!filled(at, kGuard)) found = describe("before", b);
  if (!filled(end, std::size_t(block_end - end))) found = describe("behind", b);
  if (!found.empty()) {
    std::memset(at, kFill, kGuard);
    std::memset(end, kFill, std::size_t(block_end - end));
  }
  return found;
}

Blocks::iterator take_fresh(std::size_t whole) {
  if (std::size_t(arena + kTotal - used_end) < whole) return blocks.end();
  char* at = used_end;
  used_end += whole;
  if (used_end > open_end) {
    open_end = arena + (std::size_t(used_end - arena) + kHuge - 1) / kHuge * kHuge;
    // Only what is opened: what differs in its flags from the rest stays a mapping of its own.
    madvise(arena, std::size_t(open_end - arena), MADV_HUGEPAGE);
  }
  to_fill.push_back({at, whole, false});
  return blocks.emplace(at, Block{.whole = whole}).first;
}

void remember_free(Blocks::iterator it) { free_blocks.emplace(it->second.whole, it->first); }

void forget_free(Blocks::iterator it) {
  auto [first, last] = free_blocks.equal_range(it->second.whole);
  free_blocks.erase(std::find_if(first, last, [&](const auto& f) { return f.second == it->first; }));
}

Blocks::iterator take_free(std::size_t whole) {
  const auto fits = free_blocks.lower_bound(whole);
  if (fits == free_blocks.end()) return blocks.end();
  const auto it = blocks.find(fits->second);
  free_blocks.erase(fits);
  if (it->second.whole > whole) {
    remember_free(blocks.emplace(it->first + whole, Block{.whole = it->second.whole - whole}).first);
    it->second.whole = whole;
  }
  to_fill.push_back({it->first, whole, true});
  return it;
}

void join_with_neighbours(Blocks::iterator it) {
  if (const auto next = std::next(it); next != blocks.end() && is_free(next->second)) {
    forget_free(next);
    it->second.whole += next->second.whole;
    blocks.erase(next);
  }
  if (it != blocks.begin() && is_free(std::prev(it)->second)) {
    const auto before = std::prev(it);
    forget_free(before);
    before->second.whole += it->second.whole;
    blocks.erase(it);
    it = before;
  }
  if (it->first + it->second.whole == used_end) {
    used_end = it->first;  // the range in use stays compact
    blocks.erase(it);
  } else {
    remember_free(it);
  }
}

void poison_guards(char* at, const Block& b) {
  asan::poison(at, kGuard);
  asan::poison(user(at) + b.bytes, b.whole - kGuard - b.bytes);
}

void settle() {
  for (const auto& f : to_fill) {
    asan::unpoison(f.at, f.whole);
    if (!f.used_before || !filled(f.at, f.whole)) {
      if (f.used_before) damage = "device code has written into memory that was free";
      std::memset(f.at, kFill, f.whole);
    }
    poison_guards(f.at, blocks.find(f.at)->second);
  }
  to_fill.clear();
  for (char* at : to_free) {
    const auto it = blocks.find(at);
    Block& b = it->second;
    asan::unpoison(at, b.whole);
    if (!asan::on)
      if (const auto found = damaged(at, b); !found.empty()) damage = found;
    std::memset(at, kFill, b.whole);
    asan::poison(at, b.whole);
    b = {.whole = b.whole};
    join_with_neighbours(it);
  }
  to_free.clear();
}

}  // namespace

Access::Access() {
  if (!arena) create_arena();
  if (accesses++ > 0) return;
  protect(PROT_READ | PROT_WRITE);
  settle();
}
Access::~Access() {
  if (--accesses == 0) protect(PROT_NONE);
}

void* allocate(std::size_t bytes) {
  if (bytes > kTotal) return nullptr;
  if (!arena) create_arena();
  const std::size_t whole = kGuard + (bytes + kAlign - 1) / kAlign * kAlign + kGuard;
  auto it = take_free(whole);
  if (it == blocks.end()) it = take_fresh(whole);
  if (it == blocks.end()) return nullptr;
  it->second.bytes = bytes;
  it->second.live = true;
  in_use += bytes;
  asan::unpoison(it->first, whole);
  poison_guards(it->first, it->second);
  return user(it->first);
}

bool release(void* p) {
  const auto it = blocks.find(static_cast<char*>(p) - kGuard);
  if (it == blocks.end() || !it->second.live) return false;
  if (it->second.noted) std::erase(noted, it->first);
  it->second.live = false;
  it->second.pending = true;
  in_use -= it->second.bytes;
  to_free.push_back(it->first);
  asan::poison(it->first, it->second.whole);
  constexpr std::size_t kMany = 1000;
  if (to_free.size() > kMany) {
    const Access settled;
  }
  return true;
}

bool in_arena(const void* p) {
  return arena && static_cast<const char*>(p) >= arena && static_cast<const char*>(p) < arena + kTotal;
}
std::size_t bytes_in_use() { return in_use; }

Found find(const void* p) {
  if (!in_arena(p)) return {};
  auto it = blocks.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (it == blocks.begin()) return {};
  --it;
  const char* begin = user(it->first);
  if (!it->second.live || p < begin || p > begin + it->second.bytes) return {};
  return {begin, it->second.bytes};
}

void note_use(const Found& allocation) {
  if (asan::on) return;
  const auto it = blocks.find(const_cast<char*>(allocation.begin) - kGuard);
  if (it->second.noted) return;
  it->second.noted = true;
  noted.push_back(it->first);
}

void check_used() {
  if (asan::on) return;
  constexpr std::size_t kMore = 8;
  const auto look = [&](const Blocks::iterator it) {
    if (!it->second.live) return;
    if (auto text = damaged(it->first, it->second); !text.empty()) damage = text;
  };
  for (char* at : noted) {
    const auto it = blocks.find(at);
    it->second.noted = false;
    look(it);
  }
  noted.clear();
  auto it = blocks.lower_bound(arena + next_to_check);
  for (std::size_t i = 0; i < std::min(kMore, blocks.size()); ++i) {
    if (it == blocks.end()) it = blocks.begin();
    look(it++);
  }
  next_to_check = it == blocks.end() ? 0 : std::size_t(it->first - arena);
}
std::string take_damage() { return std::exchange(damage, {}); }

void* allocate_pinned(std::size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, kAlign, std::max<std::size_t>(bytes, 1)) != 0) return nullptr;
  std::memset(p, kFill, bytes);
  pinned[static_cast<char*>(p)] = bytes;
  return p;
}
bool release_pinned(void* p) {
  if (pinned.erase(static_cast<char*>(p)) == 0) return false;
  std::free(p);
  return true;
}
bool is_pinned(const void* p, std::size_t bytes) {
  auto it = pinned.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (it == pinned.begin()) return false;
  --it;
  return static_cast<const char*>(p) + bytes <= it->first + it->second;
}

}  // namespace cuda_on_cpu::memory

namespace cuda_on_cpu {

bool is_device_memory(const void* p, std::size_t bytes) {
  const Lock lock;
  const auto found = memory::find(p);
  return found.begin && static_cast<const char*>(p) + bytes <= found.begin + found.bytes;
}
std::size_t allocations() {
  const Lock lock;
  std::size_t n = 0;
  for (const auto& [at, b] : memory::blocks) n += b.live;
  return n;
}

}  // namespace cuda_on_cpu
