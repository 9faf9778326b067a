// Conversions by rows: any pair of types one element at a time, fp32 to bf16 by vectors.
#include "kernels/cpu/convert.h"

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar_convert.h"

namespace millrace::cpu {

namespace {

constexpr int64_t kConvertGrain = 16 * 1024;  // elements worth a thread

template <typename Read>
void write_row(const Read& read, int64_t first, int64_t count, void* out, int64_t out_first,
               DType out_dtype) {
  const auto write = [&](auto* to, const auto& narrow) {
    for (int64_t i = 0; i < count; ++i) to[out_first + i] = narrow(read(first + i));
  };
  switch (out_dtype) {
    case DType::kF32: return write(static_cast<float*>(out), [](float x) { return x; });
    case DType::kBF16: return write(static_cast<uint16_t*>(out), bf16_of);
    case DType::kF16: return write(static_cast<uint16_t*>(out), fp16_of);
    default: CHECK(false, "no conversion to {}", to_string(out_dtype));
  }
}

// `count` elements from x_first on, to out_first on.
void convert_part(const Kernels& kernels, const ConvertArgs& args, int64_t x_first,
                  int64_t out_first, int64_t count) {
  if (args.x_dtype == DType::kF32 && args.out_dtype == DType::kBF16) {
    kernels.f32_to_bf16(static_cast<const float*>(args.x) + x_first,
                        static_cast<uint16_t*>(args.out) + out_first, count);
    return;
  }
  with_reader(args.x, args.x_dtype, [&](const auto& read) {
    write_row(read, x_first, count, args.out, out_first, args.out_dtype);
  });
}

}  // namespace

void convert_rows(const Kernels& kernels, ThreadPool& pool, const ConvertArgs& args) {
  if (args.width == 0) return;
  pool.parallel_ranges(args.rows, kConvertGrain / args.width + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      convert_part(kernels, args, r * args.x_stride, r * args.out_stride, args.width);
  });
}

void convert(const Kernels& kernels, ThreadPool& pool, const void* x, DType x_dtype, void* out,
             DType out_dtype, int64_t count) {
  const ConvertArgs args{.x = x, .x_dtype = x_dtype, .out = out, .out_dtype = out_dtype};
  pool.parallel_ranges(count, kConvertGrain, [&](int64_t begin, int64_t end) {
    convert_part(kernels, args, begin, begin, end - begin);
  });
}

}  // namespace millrace::cpu
