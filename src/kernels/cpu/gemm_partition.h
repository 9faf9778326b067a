// How a product is shared out over the threads of a pool: a pure function of the sizes.
#pragma once

#include <cstdint>
#include <string>

namespace millrace::cpu {

// Thread t works on row part t / panel_parts and panel part t % panel_parts; threads from
// row_parts * panel_parts on have nothing to do.
struct GemmPartition {
  int64_t row_parts = 1;
  int64_t panel_parts = 1;

  bool operator==(const GemmPartition&) const = default;
};

// Rows first, as they keep a thread's activations in its own cache; panels where there are too few
// rows to fill the tiles of every thread. `tile_rows` is the height of a full tile.
GemmPartition best_partition(int64_t m, int64_t panels, int64_t k, int64_t tile_rows,
                             int64_t num_threads);

std::string to_string(const GemmPartition& partition);  // "2 x 1"

}  // namespace millrace::cpu
