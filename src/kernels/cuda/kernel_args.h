// What the host hands to each CUDA kernel, by value. Read by the host's compiler and by NVRTC, so
// it includes nothing and uses built-in types alone.
#pragma once

namespace millrace::cuda {

// Rows of values: element (r, c) lies at data[r * stride + c].
struct Rows {
  void* data = nullptr;
  int stride = 0;  // elements
};

// y = (x - mean(x)) / sqrt(var(x) + eps) * gamma + beta; gamma and beta of the kernel's type.
struct NormArgs {
  const void* gamma = nullptr;  // [width]
  const void* beta = nullptr;   // [width]
  float eps = 0;
};

// out[r] = LN(sum over t of tables[t][indices[t][r]]). A null table is skipped.
struct EmbedArgs {
  const void* tables[3] = {};  // [*, width], contiguous
  const int* indices[3] = {};  // [rows]
  NormArgs norm;
  Rows out;  // [rows, width]
  int rows = 0;
  int width = 0;
};

// residual[r] = LN(residual[r] + delta[r]), in place.
struct AddLayerNormArgs {
  Rows residual;  // [rows, width]
  Rows delta;     // [rows, width]
  NormArgs norm;
  int rows = 0;
  int width = 0;
};

// Query rows that one block works on together, and the key rows that they see among them. Without
// rows it fills up a grid.
struct AttentionTile {
  int row_begin = 0;
  int row_end = 0;
  int kv_begin = 0;
  int kv_end = 0;
};

// Bidirectional attention of packed sequences. Row r sees the rows bounds[r] alone. A tile of one
// sequence has kv_begin and kv_end at that sequence's ends.
struct AttentionArgs {
  Rows qkv;  // [tokens, 3 * num_heads * head_dim]: queries, keys, values, each head by head
  Rows out;  // [tokens, num_heads * head_dim]
  const AttentionTile* tiles = nullptr;  // [gridDim.x]
  const int (*bounds)[2] = nullptr;  // [tokens]: first row of its sequence, and one past its last
  int num_heads = 0;
  int head_dim = 0;  // at most the kernel's
  float scale = 0;   // of the scores, times log2(e)
};

// out[s] from the rows cu_seqlens[s] .. cu_seqlens[s + 1] of x.
struct PoolArgs {
  Rows x;    // [tokens, width]
  Rows out;  // [sequences, width] float
  const int* cu_seqlens = nullptr;
  int width = 0;
  int mode = 0;  // 0: first row, 1: mean, 2: last row
};

// x[r] /= max(|x[r]|, 1e-12), in place.
struct NormalizeArgs {
  Rows x;  // [rows, width] float
  int width = 0;
};

// out[r][c] = x[r][c], rounded to the type of out.
struct ConvertArgs {
  Rows x;
  Rows out;
  long long rows = 0;
  int width = 0;
};

// x[r][c] = f(x[r][c] + bias[c]), in place; bias may be null.
struct ActivateArgs {
  Rows x;
  const void* bias = nullptr;  // [width], of the type of x
  int rows = 0;
  int width = 0;
};

// --- decoders ------------------------------------------------------------------------------------

// Query rows of one sequence that a block works on together, and the keys that it takes. The rows
// are packed: row r is query head r % group of the heads that share keys, of token r / group.
// Without rows it fills up a grid.
struct PagedTile {
  int row_begin = 0;
  int row_end = 0;
  int token = 0;      // row of the step that holds the sequence's first token
  int position = 0;   // of that token
  int key_begin = 0;  // a multiple of the kernel's keys per step
  int key_end = 0;
  int table = 0;       // where the sequence's block table begins among the step's numbers
  int split = 0;       // which part of the keys this is
  int num_splits = 1;  // 1: the tile takes all keys
  int partial = 0;     // slot of the first part's sums
};

// Causal attention over keys and values in blocks, [block][kv head][position][head_dim].
struct PagedAttentionArgs {
  Rows qkv;  // [tokens, *]: queries come first, head by head
  Rows out;  // [tokens, num_kv_heads * group * head_dim]
  const void* keys = nullptr;
  const void* values = nullptr;
  const PagedTile* tiles = nullptr;  // [number of blocks / num_kv_heads]
  const int* numbers = nullptr;      // of the step: block tables lie in them
  float* partials = nullptr;       // [slots, num_kv_heads, rows of a tile, head_dim of the kernel]
  float* partial_stats = nullptr;  // [slots, num_kv_heads, rows of a tile, 2]: maximum and sum
  unsigned* arrivals = nullptr;    // [slots, num_kv_heads]: zero between launches
  unsigned long long block_magic = 0;  // 2^32 / block_size + 1: positions divide by it
  int num_kv_heads = 0;
  int group = 0;       // query heads of a kv head
  int head_dim = 0;    // at most the kernel's
  int block_size = 0;  // a multiple of 16
  int window = 0;      // keys that a query sees, its own included; 0: all before it
  float scale = 0;     // of the scores; with a soft cap c: times 2 log2(e) / c, else times log2(e)
  float soft_cap = 0;  // c log2(e), or 0: none
};

// RMS(x) = x / sqrt(mean(x^2) + eps) * (gamma + offset); no gamma: nothing is normalised.
struct RmsArgs {
  const void* gamma = nullptr;
  float offset = 0;
  float eps = 0;
};

// Normalises and rotates queries, in place, and keys; writes keys and values to their slots.
struct RopeWriteArgs {
  Rows qkv;                    // [tokens, (num_heads + 2 * num_kv_heads) * head_dim]
  Rows angles;                 // [tokens, rotary_dim] float: cosines, then sines
  const int* slots = nullptr;  // [tokens]: block * block_size + offset; negative: none
  void* keys = nullptr;        // as PagedAttentionArgs
  void* values = nullptr;
  RmsArgs q_norm;
  RmsArgs k_norm;
  int tokens = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;
  int interleaved = 0;  // pairs are neighbours, else elements of the two halves
  int block_size = 0;
};

// One side of one layer of a cache: blocks on the device, and on the host.
struct KvSide {
  void* device = nullptr;
  void* host = nullptr;
  long long block_bytes = 0;  // a multiple of 16
};

// Copies blocks of several sides; no block that one copy writes is read or written by another.
struct CopyBlocksArgs {
  static constexpr int kMaxCopies = 128;

  const KvSide* sides = nullptr;  // [gridDim.y]
  int from[kMaxCopies] = {};      // [gridDim.x]
  int to[kMaxCopies] = {};
  int from_host = 0;
  int to_host = 0;
};

}  // namespace millrace::cuda
