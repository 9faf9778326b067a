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

// What a kernel's work takes for each step of k, in units of one row of a full tile; from profiles
// of bench/embed with steps of 16 to 512 tokens.
struct ProductCost {
  int64_t tile_rows = 1;        // of a full tile; a tile's own loads add one unit
  int64_t row_multiple = 1;     // rows are computed in multiples of this
  int64_t first_tile = 0;       // added to the first tile of a panel, which prepares it
  int64_t panel = 13;           // least of a panel: its way from the outer caches
  int64_t uncached_panel = 40;  // the same from memory, whose rate the threads share
  int64_t row = 0;              // to prepare a row, once for each thread that uses it
};

// Rows first, as they keep a thread's activations in its own cache; panels where that saves work,
// as there are too few rows to fill the tiles of every thread.
GemmPartition best_partition(int64_t m, int64_t panels, int64_t k, const ProductCost& cost,
                             int64_t num_threads);

std::string to_string(const GemmPartition& partition);  // "2 x 1"

}  // namespace millrace::cpu
