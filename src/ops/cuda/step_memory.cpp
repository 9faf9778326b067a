// One block of 32-bit numbers per step, copied as a whole.
#include "ops/cuda/step_memory.h"

#include <algorithm>

namespace millrace::cuda {

namespace {

constexpr int64_t kNumbersPerTile = sizeof(AttentionTile) / sizeof(int32_t);
constexpr int64_t kAlignment = 4;     // numbers: 16 bytes
constexpr int64_t kMaxTileLists = 2;  // per step
constexpr int64_t kMinTileRows = 16;

int64_t padded(int64_t count) {
  return (count + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

StepMemory::StepMemory(const GpuContext& context, const StepCapacity& capacity)
    : context_(context), most_(capacity) {
  const int64_t max_tiles = most_.max_num_tokens / kMinTileRows + most_.max_num_sequences;
  capacity_ = 5 * padded(most_.max_num_tokens) + padded(most_.max_num_sequences + 1) +
              padded(most_.max_logits_rows) + 2 * kAlignment +
              kMaxTileLists * kNumbersPerTile * max_tiles;
  allocate_input();
  for (Half& half : halves_) {
    half.results = context_.allocate_pinned(most_.max_result_bytes);
    half.done.emplace(context_);
  }
  const int64_t sampled = std::max<int64_t>(1, most_.max_logits_rows);
  sampled_tokens_ = context_.allocate(sampled * static_cast<int64_t>(sizeof(int32_t)));
}

void StepMemory::allocate_input() {
  const int64_t bytes = capacity_ * static_cast<int64_t>(sizeof(int32_t));
  device_input_ = context_.allocate(bytes);
  for (Half& half : halves_) half.host_input = context_.allocate_pinned(bytes);
}

void StepMemory::reserve_cache(size_t num_groups, int64_t max_blocks) {
  CHECK(num_begun_ == 0, "a cache after {} steps", num_begun_);
  const int64_t table = padded(most_.max_num_sequences * max_blocks);
  capacity_ += static_cast<int64_t>(num_groups) * (padded(most_.max_num_tokens) + table);
  allocate_input();
}

int32_t* StepMemory::take(int64_t count) {
  CHECK(num_taken_ + padded(count) <= capacity_, "a step larger than its limits");
  int32_t* numbers = static_cast<int32_t*>(half().host_input.data()) + num_taken_;
  num_taken_ += padded(count);
  return numbers;
}

const int32_t* StepMemory::on_device(const int32_t* host) {
  return static_cast<const int32_t*>(device_input_.data()) +
         (host - static_cast<const int32_t*>(half().host_input.data()));
}

void StepMemory::send(const int32_t* begin, const int32_t* end) {
  MILLRACE_CUDA(
      context_.driver(),
      copy_to_device(address_of(on_device(begin)), begin,
                     static_cast<size_t>(end - begin) * sizeof(int32_t), context_.stream()));
}

void StepMemory::begin(const Batch& batch, std::optional<StepSize> size,
                       const std::vector<TileList>& lists) {
  if (num_begun_ >= kSteps) half().done->wait();
  num_taken_ = 0;
  size_ = size;
  sent_.clear();
  half().free_results = Arena(half().results.data(), half().results.bytes(), Device{});
  const auto put = [&](const std::vector<int32_t>& numbers) {
    int32_t* out = take(static_cast<int64_t>(numbers.size()));
    std::ranges::copy(numbers, out);
    return on_device(out);
  };
  device_batch_ = {.token_ids = put(batch.token_ids),
                   .token_type_ids = put(batch.token_type_ids),
                   .position_ids = put(batch.position_ids),
                   .cu_seqlens = put(batch.cu_seqlens)};
  const auto* first = static_cast<const int32_t*>(half().host_input.data());
  if (!batch.kv.empty()) {
    put_decoder(batch);
    send(first, first + num_taken_);
    for (PagedMemory& memory : paged_) put_paged(batch, memory);
    return;
  }
  auto* bounds = reinterpret_cast<int32_t(*)[2]>(take(2 * batch.num_tokens()));
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    for (int32_t row = batch.cu_seqlens[i]; row < batch.cu_seqlens[i + 1]; ++row) {
      bounds[row][0] = batch.cu_seqlens[i];
      bounds[row][1] = batch.cu_seqlens[i + 1];
    }
  }
  device_batch_.bounds = reinterpret_cast<const int32_t(*)[2]>(on_device(&bounds[0][0]));
  for (const TileList& list : lists) put_tiles(batch, list);
  send(first, first + num_taken_);
}

// Block tables come last: they alone differ in size between steps of one size.
void StepMemory::put_decoder(const Batch& batch) {
  const auto put = [&](const std::vector<int32_t>& numbers) {
    int32_t* out = take(static_cast<int64_t>(numbers.size()));
    std::ranges::copy(numbers, out);
    return on_device(out);
  };
  device_batch_.logits_rows = put(batch.logits_rows);
  device_batch_.sampled_tokens = sampled_tokens();
  device_batch_.numbers = static_cast<const int32_t*>(device_input_.data());
  for (const KvBatch& kv : batch.kv) device_batch_.slots.push_back(put(kv.slot_mapping));
  tables_.clear();
  for (const KvBatch& kv : batch.kv) {
    tables_.push_back(num_taken_);
    put(kv.block_table);
  }
}

void StepMemory::put_paged(const Batch& batch, PagedMemory& memory) {
  std::vector<PagedTile> tiles = millrace::paged_tiles(batch, memory.list);
  memory.count = static_cast<int64_t>(tiles.size());
  const bool recorded = size_.has_value();
  CHECK(!recorded || memory.list.rows != PagedTileList::Rows::kMany || tiles.empty(),
        "a sequence of many rows in a step that is recorded");
  if (recorded && memory.list.rows != PagedTileList::Rows::kMany) {
    const int64_t most = max_paged_tiles(*size_, memory.list);
    CHECK(memory.count <= most, "{} tiles of at most {}", memory.count, most);
    tiles.resize(static_cast<size_t>(most));
    memory.count = most;
  }
  for (PagedTile& tile : tiles) tile.table += static_cast<int>(tables_[memory.list.cache_group]);
  const size_t bytes = tiles.size() * sizeof(PagedTile);
  const Buffer& host = memory.host[num_begun_ % kSteps];
  CHECK(static_cast<int64_t>(bytes) <= host.bytes(), "a step larger than its limits");
  if (tiles.empty()) return;
  std::ranges::copy(tiles, static_cast<PagedTile*>(host.data()));
  MILLRACE_CUDA(context_.driver(), copy_to_device(address_of(memory.device.data()), host.data(),
                                                  bytes, context_.stream()));
}

DevicePagedTiles StepMemory::paged_tiles(const Batch& batch, const PagedTileList& list) {
  auto found = std::ranges::find(paged_, list, &PagedMemory::list);
  if (found == paged_.end()) {
    const int64_t most = max_paged_tiles(
        {.num_tokens = most_.max_num_tokens, .num_sequences = most_.max_num_sequences}, list);
    const int64_t bytes = most * static_cast<int64_t>(sizeof(PagedTile));
    PagedMemory memory{.list = list, .device = context_.allocate(bytes)};
    for (Buffer& host : memory.host) host = context_.allocate_pinned(bytes);
    paged_.push_back(std::move(memory));
    found = std::prev(paged_.end());
    put_paged(batch, *found);
  }
  return {.tiles = static_cast<const PagedTile*>(found->device.data()), .count = found->count};
}

void StepMemory::put_tiles(const Batch& batch, const TileList& list) {
  std::vector<AttentionTile> tiles = attention_tiles(batch, list.tile_rows, list.pack);
  if (size_) {
    const int64_t most = max_attention_tiles(*size_, list.tile_rows, list.pack);
    CHECK(static_cast<int64_t>(tiles.size()) <= most, "{} tiles of at most {}", tiles.size(), most);
    tiles.resize(static_cast<size_t>(most));
  }
  const auto count = static_cast<int64_t>(tiles.size());
  int32_t* numbers = take(kNumbersPerTile * count);
  std::ranges::copy(tiles, reinterpret_cast<AttentionTile*>(numbers));
  sent_.push_back({.list = list,
                   .tiles = {.tiles = reinterpret_cast<const AttentionTile*>(on_device(numbers)),
                             .count = count}});
}

DeviceTiles StepMemory::tiles(const Batch& batch, const TileList& list) {
  for (const Sent& sent : sent_) {
    if (sent.list == list) return sent.tiles;
  }
  const auto* first = static_cast<const int32_t*>(half().host_input.data());
  const int64_t num_sent = num_taken_;
  put_tiles(batch, list);
  send(first + num_sent, first + num_taken_);
  return sent_.back().tiles;
}

std::vector<TileList> StepMemory::tile_lists() const {
  std::vector<TileList> lists;
  for (const Sent& sent : sent_) lists.push_back(sent.list);
  return lists;
}

Tensor StepMemory::to_host(const Tensor& tensor) {
  CHECK(tensor.is_contiguous(), "{} has gaps between its rows", to_string(tensor));
  const Tensor out = half().free_results.allocate(tensor.dtype, tensor.shape);
  MILLRACE_CUDA(context_.driver(),
                copy_to_host(out.data, address_of(tensor.data), static_cast<size_t>(tensor.bytes()),
                             context_.stream()));
  return out;
}

uint64_t StepMemory::end() {
  half().done->record(context_.stream());
  return num_begun_++;
}

void StepMemory::wait(uint64_t step) {
  CHECK(step < num_begun_ && step + kSteps >= num_begun_, "step {} of {}", step, num_begun_);
  halves_[step % kSteps].done->wait();
}

}  // namespace millrace::cuda
