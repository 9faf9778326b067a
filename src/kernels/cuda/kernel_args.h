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

}  // namespace millrace::cuda
