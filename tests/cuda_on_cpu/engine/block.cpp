// How a block runs: its threads stand in a queue. Each runs until it waits or ends, then the first of the queue goes on.
// The last thread to come to a barrier, or to an exchange of its warp, puts all who waited back into the queue. When the
// queue is empty and threads are left, they wait for each other for ever.
#include "engine/block.h"

#include <cstdlib>
#include <cstring>
#include <numeric>

#include "engine/copies.h"
#include "engine/fibers.h"
#include "engine/races.h"
#include "engine/sanitizers.h"
#include "engine/turns.h"

namespace cuda_on_cpu {
namespace {

enum class State : unsigned char { ready, at_barrier, in_exchange };

struct Waiting {  // what a thread waits with
  std::uint64_t value;
  unsigned mask;
  Exchange kind;
  signed char source;  // lane
  Here at;
};
struct Warp {
  unsigned alive;    // lanes that have not ended
  unsigned waiting;  // lanes in an exchange
};

// The threads of the running block, by number.
State states[kMaxThreads];
Waiting waits[kMaxThreads];
Fiber* fiber_of[kMaxThreads];  // null: has not started, or has ended
uint3 index_of[kMaxThreads];
Warp warps[kMaxThreads / 32];
int threads, ended, current;
dim3 indexed;  // the shape of block that index_of and `first_turns` are for

unsigned short queue[kMaxThreads];  // a ring
unsigned queue_first, queue_size;

struct {  // of the threads that have come to the barrier
  int count, sum;
  bool agree, any;
  Here at;
} at_barrier;
int vote;

// The running grid.
void (*kernel)(const void*);
const void* arguments;
std::uint64_t blocks, block_number, block_step, block_offset;
std::size_t shared_bytes;
alignas(1024) char shared[227 << 10];
std::string error;
bool failed;

// Fibers: those without TSan are taken from a list; to TSan, each thread of a block is another one, and adjacent blocks
// have nothing in common, so that it sees races between them.
Fiber host, fibers[2 * kMaxThreads];
Fiber *self, *idle;  // the one that runs; those that wait for a thread to run
int fibers_made;

// What TSan synchronises on. A thread that has left a barrier must not be seen to synchronise with one that still is in
// it, so there are two of everything, in turns; and two for adjacent blocks. Groups of a warp differ by their masks.
constexpr int kGroups = 31;
char launch_begin, launch_end, barrier_sync[2][2], warp_sync[2][kMaxThreads / 32][kGroups][2];
bool barrier_turn, warp_turn[kMaxThreads / 32][kGroups];

int lane(int t) { return t & 31; }
unsigned bit(int t) { return 1u << lane(t); }

void enqueue(int t) { queue[(queue_first + queue_size++) % kMaxThreads] = static_cast<unsigned short>(t); }

void enqueue_first(int t) {
  queue_first = (queue_first + kMaxThreads - 1) % kMaxThreads;
  queue[queue_first] = static_cast<unsigned short>(t);
  ++queue_size;
}

int dequeue() {
  if (turns.order == Order::random && queue_size > 1) {
    const unsigned other = (queue_first + turns.random() % queue_size) % kMaxThreads;
    std::swap(queue[queue_first], queue[other]);
  }
  const int t = queue[queue_first];
  queue_first = (queue_first + 1) % kMaxThreads;
  --queue_size;
  return t;
}

// ---- errors ------------------------------------------------------------------------------------------

std::string name(int t) {
  const uint3 i = index_of[t];
  return "thread (" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
}
std::string block_name() {
  return "block (" + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z) +
         ")";
}
std::string place(Here at) { return std::string(at.file) + ":" + std::to_string(at.line); }

std::string what_it_does(int t) {
  if (!(warps[t / 32].alive & bit(t))) return "has exited";
  if (states[t] == State::at_barrier) return "waits at the barrier in " + place(waits[t].at);
  if (states[t] == State::in_exchange) return "waits for lanes of its warp in " + place(waits[t].at);
  return "goes on";
}

void set_error(const std::string& text) {
  const tsan::Ignore ignore;
  if (!failed) error = text;
  failed = true;
}

bool same(Here a, Here b) { return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0); }

// A pair of threads that wait for each other.
void set_stuck() {
  int a = 0;
  while (a < threads && fiber_of[a] == nullptr) ++a;
  const auto waits_for = [&](int b) {
    if (b == a || (warps[b / 32].alive & bit(b) && states[b] == states[a] && same(waits[b].at, waits[a].at)))
      return false;
    return states[a] == State::at_barrier || (b / 32 == a / 32 && waits[a].mask & bit(b));
  };
  int b = 0;
  while (b < threads && !waits_for(b)) ++b;
  if (b == threads) {
    set_error(name(a) + " of " + block_name() + " " + what_it_does(a) + ", where the lanes name different masks");
  } else {
    set_error(name(a) + " of " + block_name() + " " + what_it_does(a) + ", " + name(b) + " " + what_it_does(b));
  }
}

// ---- barriers and exchanges --------------------------------------------------------------------------

void release_barrier() {
  vote = at_barrier.sum;
  at_barrier.count = at_barrier.sum = 0;
  barrier_turn = !barrier_turn;
  for (int i = 0; i < threads; ++i) {
    const int t = turns.order == Order::reverse ? threads - 1 - i : i;
    states[t] = State::ready;
    enqueue(t);
  }
}

// Lets the exchange that thread t waits in happen, if all of its lanes have come.
void try_exchange(int t) {
  const int first = t & ~31;
  Warp& warp = warps[t / 32];
  const Waiting& mine = waits[t];
  const unsigned lanes = mine.mask & warp.alive;
  if ((warp.waiting & lanes) != lanes) return;
  std::uint64_t ballot = 0, values[32];
  bool agree = lanes == ~0u;
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    const int l = __builtin_ctz(rest);
    const Waiting& other = waits[first + l];
    if (other.mask != mine.mask || other.kind != mine.kind) return;
    values[l] = other.value;
    agree &= other.value == mine.value;
    ballot |= other.value << l;
  }
  for (int i = 0; i < 32; ++i) {
    const bool last_first = turns.order == Order::reverse || turns.order == Order::warps;
    const int l = last_first ? 31 - i : i, other = first + l;
    if (!(lanes >> l & 1u)) continue;
    Waiting& w = waits[other];
    if (mine.kind == Exchange::ballot) w.value = ballot;
    if (mine.kind == Exchange::agree) w.value = agree;
    if (mine.kind == Exchange::shuffle) {
      if (!(lanes >> w.source & 1u))
        return set_error(name(other) + " of " + block_name() + " reads lane " + std::to_string(w.source) +
                         ", which takes no part in the shuffle in " + place(w.at));
      w.value = values[w.source];
    }
    states[other] = State::ready;
    turns.order == Order::warps ? enqueue_first(other) : enqueue(other);
  }
  warp.waiting &= ~lanes;
  warp_turn[t / 32][mine.mask % kGroups] ^= true;
}

// ---- who runs ----------------------------------------------------------------------------------------

void start_block() {
  const std::uint64_t number = (block_number * block_step + block_offset) % blocks;
  blockIdx = {unsigned(number % gridDim.x), unsigned(number / gridDim.x % gridDim.y),
              unsigned(number / gridDim.x / gridDim.y)};
  for (int w = 0; w * 32 < threads; ++w) warps[w] = {threads - w * 32 >= 32 ? ~0u : (1u << (threads - w * 32)) - 1, 0};
  ended = 0;
  queue_first = queue_size = 0;
  for (int i = 0; i < threads; ++i) enqueue(turns.order == Order::reverse ? threads - 1 - i : i);
  races::begin_block();
  copies::begin_block();
  if (shared_bytes == 0) return;
  const tsan::Ignore ignore;
  std::memset(shared, 0xff, shared_bytes);
}

void fiber_main();

Fiber* fiber_for(int t) {
  if (tsan::on) return &fibers[block_number % 2 * kMaxThreads + std::uint64_t(t)];
  if (!idle) {
    idle = &fibers[fibers_made];
    idle->create(fibers_made++);
    idle->reset(fiber_main);
  }
  return std::exchange(idle, idle->next_idle);
}

// The fiber that goes on: with a thread of the queue, or with the host when the grid has ended or failed.
Fiber* next() {
  if (!failed && queue_size == 0 && ended == threads && ++block_number < blocks) start_block();
  if (!failed && queue_size == 0 && ended < threads) set_stuck();
  if (failed || queue_size == 0) return &host;
  current = dequeue();
  threadIdx = index_of[current];
  if (!fiber_of[current]) fiber_of[current] = fiber_for(current);
  return fiber_of[current];
}

void go_on() {
  Fiber* from = self;
  self = next();
  if (self != from) switch_fiber(*from, *self);
}

void end_thread() {
  Warp& warp = warps[current / 32];
  warp.alive &= ~bit(current);
  fiber_of[current] = nullptr;
  ++ended;
  if (at_barrier.count > 0) {
    int t = 0;
    while (states[t] != State::at_barrier) ++t;
    return set_error(name(t) + " of " + block_name() + " " + what_it_does(t) + ", " + name(current) + " has exited");
  }
  for (unsigned rest = warp.waiting; rest; rest &= rest - 1) {
    const int t = (current & ~31) + __builtin_ctz(rest);
    if (warp.waiting & bit(t)) try_exchange(t);
    if (failed) return;
  }
}

void fiber_main() {
  fiber_started();
  for (;;) {
    tsan::acquire(&launch_begin);
    kernel(arguments);
    tsan::release(&launch_end);
    end_thread();
    if (!tsan::on) {  // the next thread that starts does so on this stack
      self->next_idle = idle;
      idle = self;
    }
    go_on();
  }
}

void prepare_threads() {
  threads = int(blockDim.x * blockDim.y * blockDim.z);
  if (indexed.x == blockDim.x && indexed.y == blockDim.y && indexed.z == blockDim.z) return;
  indexed = blockDim;
  for (unsigned i = 0; i < unsigned(threads); ++i)
    index_of[i] = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

void order_blocks() {
  blocks = std::uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  block_step = 1, block_offset = 0, block_number = 0;
  if (turns.order == Order::reverse) block_step = block_offset = blocks - 1;
  if (turns.order == Order::random) {
    block_offset = turns.random() % blocks;
    do block_step = turns.random() % 65521 + 1;
    while (std::gcd(block_step, blocks) != 1);
  }
}

// After an error, threads are left on their stacks: for ever.
void abandon_threads() {
  for (int t = 0; t < kMaxThreads; ++t) fiber_of[t] = nullptr, states[t] = State::ready;
  at_barrier.count = at_barrier.sum = 0;
  idle = nullptr;
  for (Fiber& f : fibers) {  // to TSan, what the threads did is over for the host, too
    if (!f.memory) continue;
    tsan::switch_to(f.tsan);
    tsan::release(&launch_end);
    tsan::switch_to(host.tsan);
  }
  tsan::acquire(&launch_end);
  for (Fiber& f : fibers) {
    if (!f.memory) continue;
    f.reset(fiber_main);
    f.next_idle = std::exchange(idle, &f);
  }
}

void make_tsan_fibers() {
  if (!tsan::on) return;
  for (int i = 0; i < threads; ++i)
    for (int set = 0; set < 2; ++set)
      if (Fiber& f = fibers[set * kMaxThreads + i]; !f.memory) f.create(set * kMaxThreads + i), f.reset(fiber_main);
}

}  // namespace

std::string run_grid(const cudaLaunchConfig_t& config, void (*run)(const void*), const void* packed) {
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  kernel = run;
  arguments = packed;
  shared_bytes = config.dynamicSmemBytes;
  failed = false;
  prepare_threads();
  order_blocks();
  make_tsan_fibers();
  asan::unpoison(shared, shared_bytes);
  asan::poison(shared + shared_bytes, sizeof shared - shared_bytes);
  start_block();
  host.tsan = tsan::current_fiber();
  tsan::release(&launch_begin);
  self = next();
  races::set_running(true);
  switch_fiber(host, *self);
  races::set_running(false);
  tsan::acquire(&launch_end);
  if (failed) abandon_threads();
  return failed ? error : std::string();
}

int barrier(Vote kind, int predicate, Here at) {
  const int t = current;
  if (at_barrier.count > 0 && !same(at, at_barrier.at)) {
    int other = 0;
    while (states[other] != State::at_barrier) ++other;
    set_error(name(other) + " of " + block_name() + " " + what_it_does(other) + ", " + name(t) + " in " + place(at));
  } else if (ended > 0) {
    int other = 0;
    while (warps[other / 32].alive & bit(other)) ++other;
    set_error(name(t) + " of " + block_name() + " waits at the barrier in " + place(at) + ", " + name(other) +
              " has exited");
  }
  char* met = &barrier_sync[block_number % 2][barrier_turn];
  tsan::release(met);
  at_barrier.at = at;
  at_barrier.sum += predicate != 0;
  states[t] = State::at_barrier;
  waits[t].at = at;
  if (++at_barrier.count == threads) release_barrier();
  go_on();
  tsan::acquire(met);
  if (kind == Vote::any) return vote > 0;
  return kind == Vote::all ? vote == threads : vote;
}

std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t value, int source, Here at) {
  const int t = current;
  Warp& warp = warps[t / 32];
  waits[t] = {value, mask, kind, static_cast<signed char>(source), at};
  states[t] = State::in_exchange;
  warp.waiting |= bit(t);
  if (!(mask & bit(t)))
    set_error(name(t) + " of " + block_name() + " is not in the mask that it names in " + place(at));
  const unsigned group = mask % kGroups;
  char* met = &warp_sync[block_number % 2][t / 32][group][warp_turn[t / 32][group]];
  if (kind == Exchange::sync) tsan::release(met);  // a shuffle orders no memory
  if (!failed) try_exchange(t);
  go_on();
  if (kind == Exchange::sync) tsan::acquire(met);
  return waits[t].value;
}

void refuse(const char* what, Here at) {
  set_error(name(current) + " of " + block_name() + " " + what + " in " + place(at));
  go_on();
  std::abort();  // not reached
}

void* dynamic_shared() { return shared; }

}  // namespace cuda_on_cpu
