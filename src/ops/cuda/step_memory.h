// StepMemory: what travels between host and GPU with each step: the batch there, the results back.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "ops/cuda/gpu_context.h"
#include "ops/cuda_choice.h"
#include "ops/paged_tiles.h"
#include "tensor/arena.h"

namespace millrace::cuda {

// Where a step's numbers lie on the GPU.
struct DeviceBatch {
  const int32_t* token_ids = nullptr;       // [num_tokens]
  const int32_t* token_type_ids = nullptr;  // [num_tokens]
  const int32_t* position_ids = nullptr;    // [num_tokens]
  const int32_t* cu_seqlens = nullptr;      // [num_sequences + 1]
  const int32_t (*bounds)[2] = nullptr;     // [num_tokens]: AttentionArgs::bounds; of encoders

  // Of decoders.
  const int32_t* logits_rows = nullptr;     // [rows that want logits]
  std::vector<const int32_t*> slots;        // [cache groups][num_tokens]; -1: the row has no slot
  const int32_t* sampled_tokens = nullptr;  // [max_logits_rows]: what ~r among token_ids names
  const int32_t* numbers = nullptr;         // PagedAttentionArgs::numbers
};

struct DeviceTiles {
  const AttentionTile* tiles = nullptr;
  int64_t count = 0;
};

struct DevicePagedTiles {
  const PagedTile* tiles = nullptr;
  int64_t count = 0;
};

// The largest step of an engine.
struct StepCapacity {
  int64_t max_num_tokens = 0;
  int64_t max_num_sequences = 0;
  int64_t max_logits_rows = 0;  // of decoders
  int64_t max_result_bytes = 0;
};

// A list of tiles that a step's kernels ask for.
struct TileList {
  int tile_rows = 0;
  bool pack = false;

  bool operator==(const TileList&) const = default;
};

// Each step uses one of two halves in turn, so that the host fills one while the GPU reads the
// other. All copies are asynchronous, on the context's stream.
class StepMemory {
 public:
  static constexpr int kSteps = 2;

  StepMemory(const GpuContext& context, const StepCapacity& capacity);

  // Makes room for slots and block tables of so many cache groups, whose sequences have at most
  // `max_blocks` blocks each. Before the first step.
  void reserve_cache(size_t num_groups, int64_t max_blocks);

  // Waits until the step before last has come back, and sends the batch.
  void begin(const Batch& batch) { begin(batch, {}, {}); }

  // The same for a step that is recorded or replayed: all numbers lie where the last batch of the
  // same size had them, lists of tiles have the length that any such batch needs, and those that
  // are known to be asked for are sent along. Of decoders no sequence has more than kFewRows rows.
  void begin_recorded(const Batch& batch, const std::vector<TileList>& lists) {
    begin(batch, {{batch.num_tokens(), batch.num_sequences()}}, lists);
  }

  const DeviceBatch& batch() const { return device_batch_; }

  // The tiles of this step's batch, sent on first use.
  DeviceTiles tiles(const Batch& batch, const TileList& list);
  std::vector<TileList> tile_lists() const;  // that this step has

  // The same over paged keys. A list that was asked for once is sent with every step from then on,
  // and always lies at one address.
  DevicePagedTiles paged_tiles(const Batch& batch, const PagedTileList& list);

  // Where the tokens that a step samples are kept for the next one.
  int32_t* sampled_tokens() { return static_cast<int32_t*>(sampled_tokens_.data()); }

  // A copy on the host; its values are there once wait() has returned for this step.
  Tensor to_host(const Tensor& tensor);

  uint64_t end();            // the number of this step, counted from 0
  void wait(uint64_t step);  // for a step whose half was not begun anew

 private:
  struct Half {
    Buffer host_input;  // pinned
    Buffer results;     // pinned
    Arena free_results;
    std::optional<Event> done;
  };

  struct Sent {
    TileList list;
    DeviceTiles tiles;
  };

  struct PagedMemory {
    PagedTileList list;
    Buffer device;                    // [max_paged_tiles of the largest step]
    std::array<Buffer, kSteps> host;  // pinned
    int64_t count = 0;                // of this step's launch
  };

  Half& half() { return halves_[num_begun_ % kSteps]; }
  void allocate_input();
  void put_decoder(const Batch& batch);
  void put_paged(const Batch& batch, PagedMemory& memory);
  void begin(const Batch& batch, std::optional<StepSize> size, const std::vector<TileList>& lists);
  void put_tiles(const Batch& batch, const TileList& list);
  // The next `count` numbers of the input block; to be filled on the host and sent.
  int32_t* take(int64_t count);
  const int32_t* on_device(const int32_t* host);
  void send(const int32_t* begin, const int32_t* end);

  const GpuContext& context_;
  StepCapacity most_;
  int64_t capacity_ = 0;  // numbers in an input block
  Buffer device_input_;
  std::array<Half, kSteps> halves_;
  int64_t num_taken_ = 0;
  uint64_t num_begun_ = 0;        // steps ended, and the index of the one at work
  std::optional<StepSize> size_;  // of a step that is recorded or replayed
  DeviceBatch device_batch_;
  std::vector<Sent> sent_;
  std::vector<int64_t> tables_;  // [cache groups]: where their block tables begin
  std::vector<PagedMemory> paged_;
  Buffer sampled_tokens_;
};

}  // namespace millrace::cuda
