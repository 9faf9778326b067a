// Activations and tiles.
#include "ops/cuda_choice.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace millrace {

cuda::Function function_of(ActivationFunction f) {
  switch (f) {
    case ActivationFunction::kNone: return cuda::Function::kNone;
    case ActivationFunction::kGelu: return cuda::Function::kGelu;
    case ActivationFunction::kGeluTanh: return cuda::Function::kGeluTanh;
    case ActivationFunction::kRelu: return cuda::Function::kRelu;
    case ActivationFunction::kSilu: return cuda::Function::kSilu;
    case ActivationFunction::kTanh: return cuda::Function::kTanh;
  }
  CHECK(false, "activation function {}", static_cast<int>(f));
}

bool is_fused_into_product(ActivationFunction f, DType out) {
  if (f == ActivationFunction::kNone) return true;
  if (f == ActivationFunction::kGelu) return out == DType::kBF16;
  return f == ActivationFunction::kGeluTanh && out != DType::kF32;
}

std::optional<cuda::KernelLaunch> activation_kernel(ActivationFunction f, DType out, int64_t rows) {
  if (is_fused_into_product(f, out)) return std::nullopt;
  return cuda::activate_kernel(out, function_of(f), rows);
}

std::vector<cuda::AttentionTile> attention_tiles(const Batch& batch, int tile_rows, bool pack) {
  std::vector<cuda::AttentionTile> tiles;
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const int begin = batch.cu_seqlens[i];
    const int end = batch.cu_seqlens[i + 1];
    if (begin == end) continue;
    if (pack && !tiles.empty()) {
      cuda::AttentionTile& last = tiles.back();
      const bool whole = last.row_begin == last.kv_begin && last.row_end == last.kv_end;
      if (whole && end - last.row_begin <= tile_rows) {
        last.row_end = last.kv_end = end;
        continue;
      }
    }
    for (int row = begin; row < end; row += tile_rows) {
      tiles.push_back({.row_begin = row,
                       .row_end = std::min(row + tile_rows, end),
                       .kv_begin = begin,
                       .kv_end = end});
    }
  }
  // The longest begin first, so that no block is left alone at the end.
  std::ranges::stable_sort(tiles, std::greater<>(), [](const cuda::AttentionTile& tile) {
    return tile.kv_end - tile.kv_begin;
  });
  return tiles;
}

StepSize recorded_size(const StepSize& step, const StepSize& most) {
  const auto tokens = static_cast<uint64_t>(step.num_tokens);
  const auto granule = static_cast<int64_t>(std::max<uint64_t>(8, std::bit_floor(tokens) / 8));
  const auto sequences = std::bit_ceil(static_cast<uint64_t>(step.num_sequences));
  const int64_t num_tokens =
      std::min(most.num_tokens, (step.num_tokens + granule - 1) / granule * granule);
  return {
      .num_tokens = num_tokens,
      .num_sequences = std::min({most.num_sequences, num_tokens, static_cast<int64_t>(sequences)})};
}

std::optional<StepSize> recorded_decoder_size(const Batch& batch, const StepSize& most) {
  for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s)
    if (batch.cu_seqlens[s + 1] - batch.cu_seqlens[s] > kFewRows) return std::nullopt;
  StepSize size = recorded_size({batch.num_tokens(), batch.num_sequences()}, most);
  const auto logits = static_cast<int64_t>(batch.logits_rows.size());
  if (logits == 0) return size;
  size.num_logits_rows = logits <= size.num_sequences ? size.num_sequences : size.num_tokens;
  if (size.num_logits_rows > most.num_logits_rows) size.num_logits_rows = logits;
  return size;
}

int64_t max_attention_tiles(const StepSize& size, int tile_rows, bool pack) {
  // A sequence has at most one tile that is not full.
  const int64_t full = size.num_tokens / tile_rows;
  if (!pack) return full + size.num_sequences;
  // Of two tiles of whole sequences that follow each other, the second one's first sequence did not
  // fit into the first: together they have more than tile_rows rows. A full tile may be followed by
  // a part of its sequence, and by an odd one of those tiles.
  return std::min(full + size.num_sequences, 3 * full + 2);
}

}  // namespace millrace
