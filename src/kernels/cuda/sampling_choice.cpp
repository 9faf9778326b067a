// The rules that the kernels' files state.
#include "kernels/cuda/sampling_choice.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"

namespace millrace::cuda {

namespace {

constexpr int64_t kChunk = 256;      // tokens that a warp takes at once
constexpr int64_t kMaxList = 4096;   // more candidates than that are seldom
constexpr int kSharedBytes = 87040;  // with the 13 KiB that the kernel has: 99 KiB, sm_86's most
constexpr int64_t kGreedyPart = 8192;

void check_vocab(int64_t vocab) {
  CHECK(vocab >= 1 && vocab <= kMaxSampledVocab, "no kernel samples rows of {} logits", vocab);
}

}  // namespace

KernelLaunch sample_kernel(int64_t rows, int64_t vocab) {
  check_vocab(vocab);
  return {.instance = {"smxx_sample", {}},
          .grid_x = rows,
          .threads = 1024,
          .shared_bytes = kSharedBytes};
}

int64_t sample_list_capacity(int64_t vocab) {
  check_vocab(vocab);
  const int64_t chunks = ceil_div(vocab, kChunk);
  const int64_t bitmaps = 2 * chunks * kChunk / 8;
  const int64_t counts = ceil_div(chunks, 4) * 16;
  const int64_t fits = (kSharedBytes - bitmaps - counts) / 8 / kChunk * kChunk;
  return std::min(fits, kMaxList);
}

KernelLaunch greedy_kernel(int64_t rows, int64_t vocab) {
  check_vocab(vocab);
  return {.instance = {"smxx_greedy", {}},
          .grid_x = ceil_div(vocab, kGreedyPart),
          .grid_y = rows,
          .threads = 256};
}

}  // namespace millrace::cuda
