// PagedDecoder: a decoder on the CPU over a paged cache, sequence by sequence, for tests.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "models/plan.h"
#include "ops/cpu/cpu_ops.h"

namespace millrace::test {

// Rows of one sequence for one step.
struct Chunk {
  int sequence = 0;
  std::vector<int32_t> ids;
};

// Blocks are handed out in a random order, each sequence having its own in every cache group.
// Blocks that a window has left behind are given back and filled with NaN.
class PagedDecoder {
 public:
  struct Options {
    cpu::Isa isa = cpu::Isa::kPortable;
    Precision precision;
    int num_threads = 2;
    int64_t block_size = 16;
    int64_t num_blocks = 40;
    uint32_t seed = 1;
  };

  PagedDecoder(const ModelConfig& config, const StepLimits& limits, const WeightSource& source,
               const Options& options)
      : pool_(options.num_threads),
        plan_(plan_model(config, limits, source, {.precision = options.precision})),
        ops_(pool_, options.isa, options.precision, plan_.activation_bytes()),
        random_(options.seed) {
    ParameterList list;
    model_ = make_model(Params(source, ops_, list), config, limits);
    KvCacheSize size{.block_size = options.block_size};
    const KvCacheSpec& spec = model_->kv_cache_spec();
    size.num_blocks.assign(spec.groups.size(), options.num_blocks);
    ops_.allocate_kv_cache(spec, size);
    for (size_t group = 0; group < spec.groups.size(); ++group) {
      std::vector<int32_t> blocks(static_cast<size_t>(options.num_blocks));
      std::iota(blocks.begin(), blocks.end(), 0);
      std::ranges::shuffle(blocks, random_);
      free_.push_back(std::move(blocks));
      for (int32_t block = 0; block < options.num_blocks; ++block) poison(group, block);
    }
  }

  // Logits of every row of the chunks, [rows of the step][vocab].
  std::vector<std::vector<float>> step(const std::vector<Chunk>& chunks) {
    Batch batch;
    for (const Chunk& chunk : chunks) {
      batch.append_rows(chunk.ids, lengths_[chunk.sequence]);
      lengths_[chunk.sequence] += static_cast<int64_t>(chunk.ids.size());
    }
    batch.logits_rows.resize(batch.token_ids.size());
    std::iota(batch.logits_rows.begin(), batch.logits_rows.end(), 0);
    for (size_t group = 0; group < free_.size(); ++group)
      batch.kv.push_back(table(group, chunks, batch));
    ops_.begin_step(batch);
    const Output output = model_->forward(ops_, batch);
    std::vector<std::vector<float>> rows;
    for (int64_t row = 0; row < output.logits->rows(); ++row) {
      const auto values = output.logits->slice_rows(row, row + 1).as<const float>();
      rows.emplace_back(values.begin(), values.end());
    }
    return rows;
  }

  // Gives the sequence's blocks back.
  void forget(int sequence) {
    for (size_t group = 0; group < free_.size(); ++group) {
      for (const int32_t block : blocks_[{sequence, group}])
        if (block >= 0) release(group, block);
      blocks_.erase({sequence, group});
    }
    lengths_.erase(sequence);
  }

  const ModelPlan& plan() const { return plan_; }
  Ops& ops() { return ops_; }

 private:
  KvBatch table(size_t group, const std::vector<Chunk>& chunks, const Batch& batch) {
    const int64_t block_size = ops_.kv_cache().size.block_size;
    const int64_t window = ops_.kv_cache().spec.groups[group].window;
    KvBatch kv;
    for (const int32_t length : batch.kv_lengths)
      kv.table_width = std::max<int64_t>(kv.table_width, (length + block_size - 1) / block_size);
    kv.table_width += 1;  // longer than need be
    for (size_t i = 0; i < chunks.size(); ++i) {
      auto& blocks = blocks_[{chunks[i].sequence, group}];
      const int64_t length = batch.kv_lengths[i];
      const int64_t rows = static_cast<int64_t>(chunks[i].ids.size());
      while (static_cast<int64_t>(blocks.size()) * block_size < length) {
        CHECK(!free_[group].empty(), "the test's cache is too small");
        blocks.push_back(free_[group].back());
        free_[group].pop_back();
      }
      const int64_t first = window > 0 ? std::max<int64_t>(0, length - rows - window + 1) : 0;
      for (int64_t block = 0; (block + 1) * block_size <= first; ++block) {
        int32_t& left = blocks[static_cast<size_t>(block)];
        if (left >= 0) release(group, left);
        left = -1;
      }
      std::vector<int32_t> row = blocks;
      row.resize(static_cast<size_t>(kv.table_width), -1);
      kv.block_table.insert(kv.block_table.end(), row.begin(), row.end());
      for (int64_t position = length - rows; position < length; ++position) {
        const int32_t block = blocks[static_cast<size_t>(position / block_size)];
        kv.slot_mapping.push_back(static_cast<int32_t>(block * block_size + position % block_size));
      }
    }
    return kv;
  }

  void release(size_t group, int32_t block) {
    poison(group, block);
    free_[group].insert(free_[group].begin(), block);
  }

  void poison(size_t group, int32_t block) {
    for (const KvLayer& layer : ops_.kv_cache().layers) {
      if (layer.group != group) continue;
      for (const Tensor& side : {layer.k, layer.v}) {
        auto* values = static_cast<float*>(side.data) + block * side.row_stride;
        std::fill_n(values, side.row_stride, std::numeric_limits<float>::quiet_NaN());
      }
    }
  }

  ThreadPool pool_;
  ModelPlan plan_;
  CpuOps ops_;
  std::mt19937 random_;
  std::unique_ptr<Model> model_;
  std::vector<std::vector<int32_t>> free_;                         // by group
  std::map<std::pair<int, size_t>, std::vector<int32_t>> blocks_;  // -1: left by the window
  std::map<int, int64_t> lengths_;
};

}  // namespace millrace::test
