// PagedDecoder: a decoder over a paged cache, sequence by sequence, for tests.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "models/plan.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cuda_backend.h"

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
    bool on_gpu = false;  // and the rest of these
    bool deterministic = false;
    bool enforce_eager = false;
  };

  PagedDecoder(const ModelConfig& config, const StepLimits& limits, const WeightSource& source,
               const Options& options)
      : pool_(options.num_threads), random_(options.seed) {
    if (options.on_gpu) {
      make_gpu_ops(config, limits, source, options);
    } else {
      plan_ = plan_model(config, limits, source, {.precision = options.precision});
      ops_ =
          std::make_unique<CpuOps>(pool_, options.isa, options.precision, plan_.activation_bytes());
    }
    ParameterList list;
    model_ = make_model(Params(source, *ops_, list), config, limits);
    ops_->finish_loading();
    KvCacheSize size{.block_size = options.block_size};
    const KvCacheSpec& spec = model_->kv_cache_spec();
    size.num_blocks.assign(spec.groups.size(), options.num_blocks);
    ops_->allocate_kv_cache(spec, size);
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
    const auto forward = [&](const Batch& rows) {
      return StepRows{.logits = model_->forward(*ops_, rows).logits};
    };
    const Step step = ops_->run_step(batch, 0, forward);
    const Tensor& logits = *step.rows.logits;
    const auto width = static_cast<size_t>(logits.columns());
    std::vector<std::vector<float>> rows(static_cast<size_t>(logits.rows()),
                                         std::vector<float>(width));
    for (size_t row = 0; row < rows.size(); ++row)
      copy(rows[row].data(),
           static_cast<const float*>(logits.data) + static_cast<int64_t>(row) * logits.row_stride,
           static_cast<int64_t>(width * sizeof(float)));
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
  Ops& ops() { return *ops_; }

 private:
  void make_gpu_ops(const ModelConfig& config, const StepLimits& limits, const WeightSource& source,
                    const Options& options) {
    backend_ = &load_cuda_backend();
    const Gpu gpu = backend_->gpus().front();
    const cuda::Arch arch = cuda::native_arch(gpu.capability);
    plan_ = plan_model(config, limits, source,
                       {.device = {.kind = DeviceKind::kCuda, .index = gpu.index},
                        .precision = options.precision,
                        .arch = arch});
    ops_ = backend_->make_ops(
        {.device = gpu.index,
         .arch = arch,
         .precision = options.precision,
         .weight_bytes = plan_.placed_bytes,
         .arena_bytes = plan_.activation_bytes(),
         .max_num_tokens = limits.max_num_tokens,
         .max_num_sequences = limits.max_num_sequences,
         .vocab_size = config.vocab_size,
         .max_seq_len = limits.max_seq_len,
         .max_logits_rows = limits.max_num_sequences,
         .deterministic = options.deterministic,
         .enforce_eager = options.enforce_eager,
         .kernels = compile_kernels(*backend_, plan_.kernels(), arch, {}).kernels});
  }

  // Between the host and wherever the ops compute.
  void copy(void* to, const void* from, int64_t bytes) {
    if (backend_) {
      backend_->copy(ops_->device().index, to, from, bytes);
    } else {
      std::memcpy(to, from, static_cast<size_t>(bytes));
    }
  }

  KvBatch table(size_t group, const std::vector<Chunk>& chunks, const Batch& batch) {
    const int64_t block_size = ops_->kv_cache().size.block_size;
    const int64_t window = ops_->kv_cache().spec.groups[group].window;
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
    for (const KvLayer& layer : ops_->kv_cache().layers) {
      if (layer.group != group) continue;
      for (const Tensor& side : {layer.k, layer.v}) {
        const auto bytes = static_cast<size_t>(side.row_stride * size_of(side.dtype));
        const std::vector<std::byte> poison(bytes, std::byte{0xff});
        copy(static_cast<std::byte*>(side.data) + static_cast<size_t>(block) * bytes, poison.data(),
             static_cast<int64_t>(bytes));
      }
    }
  }

  ThreadPool pool_;
  ModelPlan plan_;
  CudaBackend* backend_ = nullptr;  // of a GPU
  std::unique_ptr<Ops> ops_;
  std::mt19937 random_;
  std::unique_ptr<Model> model_;
  std::vector<std::vector<int32_t>> free_;                         // by group
  std::map<std::pair<int, size_t>, std::vector<int32_t>> blocks_;  // -1: left by the window
  std::map<int, int64_t> lengths_;
};

}  // namespace millrace::test
