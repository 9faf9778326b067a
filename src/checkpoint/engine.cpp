// Writing, opening and verifying of engine directories.
#include "checkpoint/engine.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/version.h"

namespace millrace {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormatName = "millrace-engine";
constexpr std::string_view kManifest = "manifest.json";
constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kHfConfig = "hf_config.json";
constexpr std::string_view kSeal = "\"manifest_sha256\": ";
constexpr std::string_view kWeights = "rank0.safetensors";
constexpr std::string_view kKernels = "kernels/";
constexpr std::string_view kRebuild =
    "build the engine again: millrace build --model MODEL --output ENGINE";

[[noreturn]] void refuse(const std::string& file, std::string_view problem) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{} {}", file, problem), std::string(kRebuild));
}

// "config.json" of the checkpoint is kept as hf_config.json, because an engine has a config.json of
// its own.
std::string engine_name(const std::string& hf_name) {
  return hf_name == "config.json" ? std::string(kHfConfig) : hf_name;
}

FileIdentity identity_of(std::string name, std::span<const std::byte> bytes, ThreadPool& pool) {
  FileIdentity identity{.name = std::move(name), .bytes = bytes.size()};
  const size_t pieces = std::max<size_t>(
      1, (bytes.size() + FileIdentity::kPieceBytes - 1) / FileIdentity::kPieceBytes);
  identity.sha256.resize(pieces);
  pool.parallel_for(static_cast<int64_t>(pieces), [&](int64_t piece) {
    const size_t begin = static_cast<size_t>(piece) * FileIdentity::kPieceBytes;
    const size_t size = std::min<size_t>(FileIdentity::kPieceBytes, bytes.size() - begin);
    identity.sha256[static_cast<size_t>(piece)] = sha256_hex(bytes.subspan(begin, size));
  });
  return identity;
}

json::array to_json(const std::vector<FileIdentity>& files) {
  json::array out;
  for (const FileIdentity& file : files) {
    out.push_back(json::object{{"name", file.name},
                               {"bytes", file.bytes},
                               {"sha256", json::array(file.sha256.begin(), file.sha256.end())}});
  }
  return out;
}

std::vector<FileIdentity> files_from_json(const json::Reader& manifest, std::string_view key) {
  const json::value* list = manifest.find(key);
  if (!list || !list->is_array()) manifest.fail(key, "expected a list of files");
  std::vector<FileIdentity> files;
  for (const json::value& element : list->get_array()) {
    const std::string what = fmt::format("{}: {}[{}]", manifest.what(), key, files.size());
    const json::Reader file(json::as_object(element, what), what);
    FileIdentity identity{
        .name = file.require_string("name"),
        .bytes = static_cast<uint64_t>(file.require_integer("bytes", 0, INT64_MAX)),
        .sha256 = file.strings("sha256")};
    const bool escapes = identity.name.empty() || identity.name.front() == '/' ||
                         identity.name.find("..") != std::string::npos ||
                         identity.name.find('\0') != std::string::npos;
    if (escapes)
      file.fail("name", fmt::format("\"{}\" is not a file of this directory", identity.name));
    files.push_back(std::move(identity));
  }
  return files;
}

EngineManifest manifest_from_json(const json::Reader& reader) {
  const std::string& path = reader.what();
  if (reader.string("format").value_or("") != kFormatName)
    refuse(path, "was not written by Millrace");
  EngineManifest manifest;
  manifest.format_version =
      static_cast<int>(reader.require_integer("format_version", 1, 1'000'000));
  manifest.millrace_version = reader.require_string("millrace_version");
  if (manifest.format_version > kEngineFormatVersion) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} has engine format {}, written by millrace {}; this is millrace {}, "
                            "which reads up to {}",
                            path, manifest.format_version, manifest.millrace_version, kVersion,
                            kEngineFormatVersion),
                "use that version of millrace, or build the engine again with this one");
  }
  if (reader.require_integer("piece_bytes", 1, INT64_MAX) !=
      static_cast<int64_t>(FileIdentity::kPieceBytes)) {
    refuse(path, "has another piece_bytes than its format version");
  }
  manifest.architecture = reader.require_string("architecture");
  manifest.targets = reader.strings("targets");
  manifest.sources = files_from_json(reader, "sources");
  manifest.files = files_from_json(reader, "files");
  if (const auto formats = reader.child("formats")) {
    for (const auto& member : formats->raw()) {
      manifest.formats.emplace(member.key(), formats->require_string(member.key()));
    }
  }
  return manifest;
}

// The end of a manifest: the digest of all that stands before it.
std::string manifest_seal(std::string_view before) {
  return fmt::format("{}\"{}\"\n}}\n", kSeal, sha256_hex(before));
}

// 1e-12f as the double 1e-12, which prints as people wrote it.
double shortest_double(float value) {
  const std::string digits = fmt::format("{}", value);
  double out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return out;
}

// Its users' word for the tanh form of GELU is transformers'.
std::string_view hidden_act_name(ActivationFunction function) {
  return function == ActivationFunction::kGeluTanh ? "gelu_new" : to_string(function);
}

// TensorRT-LLM's schema, so that its users can read it: docs/engine_format.md lists the fields.
std::string config_text(const EngineContents& contents) {
  const ModelConfig& model = contents.model;
  const BuildConfig& build = contents.build;
  const std::string dtype = model.dtype == DType::kF32   ? "float32"
                            : model.dtype == DType::kF16 ? "float16"
                                                         : "bfloat16";
  json::object pretrained{
      {"architecture", model.architecture},
      {"dtype", dtype},
      {"vocab_size", model.vocab_size},
      {"max_position_embeddings", model.max_position_embeddings},
      {"hidden_size", model.hidden_size},
      {"num_hidden_layers", model.num_layers},
      {"num_attention_heads", model.num_heads},
      {"hidden_act", hidden_act_name(model.hidden_act)},
      {"intermediate_size", model.intermediate_size},
      {"norm_epsilon", shortest_double(model.norm_eps)},
      {"position_embedding_type", model.decoder ? "rope_gpt_neox" : "learned_absolute"},
      {"mapping", json::object{{"world_size", 1}, {"tp_size", 1}, {"pp_size", 1}}},
      {"quantization", json::object{{"quant_algo", nullptr}, {"kv_cache_quant_algo", nullptr}}}};
  if (const auto& decoder = model.decoder) {
    int64_t num_kv_heads = 0;  // the most of a layer: they may differ
    for (const DecoderLayerConfig& layer : decoder->layers)
      num_kv_heads = std::max(num_kv_heads, layer.num_kv_heads);
    pretrained["num_key_value_heads"] = num_kv_heads;
    pretrained["head_size"] = model.head_dim;
    if (!decoder->ropes.empty()) pretrained["rotary_base"] = decoder->ropes.front().theta;
  }
  return json::to_pretty_text(json::object{
      {"version", kVersion},
      {"pretrained_config", std::move(pretrained)},
      {"build_config",
       json::object{{"max_seq_len", build.max_seq_len.value_or(model.max_input_tokens)},
                    {"max_batch_size", build.max_batch_size},
                    {"max_num_tokens", build.max_num_tokens},
                    {"compute_dtype", to_string(build.dtype)}}},
  });
}

BuildConfig read_build_config(const fs::path& directory) {
  const std::string path = (directory / "config.json").string();
  const json::value parsed = json::parse_file(path);
  const auto build = json::Reader(json::as_object(parsed, path), path).child("build_config");
  if (!build) refuse(path, "has no build_config");
  BuildConfig config;
  config.source = {.kind = SourceKind::kLocal, .repo = directory.string()};
  config.max_seq_len = build->require_integer("max_seq_len", 1, int64_t{1} << 31);
  config.max_batch_size = build->require_integer("max_batch_size", 1, 1 << 20);
  config.max_num_tokens = build->require_integer("max_num_tokens", 1, int64_t{1} << 31);
  const auto dtype = compute_dtype_from_name(build->require_string("compute_dtype"));
  if (!dtype) build->fail("compute_dtype", "allowed: auto, fp32, fp16, bf16");
  config.dtype = *dtype;
  return config;
}

// Writes the archive and names its architecture among the targets.
void put_kernels(const fs::path& directory, const cuda::KernelArchive& archive,
                 EngineManifest& manifest) {
  fs::create_directories(directory / kKernels);
  write_kernel_archive(directory / kernel_archive_name(archive.arch), archive);
  const std::string target = to_string(archive.arch);
  if (std::ranges::find(manifest.targets, target) == manifest.targets.end())
    manifest.targets.push_back(target);
  std::ranges::sort(manifest.targets);
}

// What was verified: the same pages, which are read now, are used later.
MappedFile verify(const fs::path& directory, const FileIdentity& expected, ThreadPool& pool) {
  const fs::path path = directory / expected.name;
  if (!fs::is_regular_file(path)) refuse(path.string(), "is missing");
  const auto size = fs::file_size(path);
  if (size < expected.bytes)
    refuse(path.string(), fmt::format("is truncated: {} of {} bytes", size, expected.bytes));
  if (size > expected.bytes)
    refuse(path.string(), fmt::format("was altered: {} bytes instead of {}", size, expected.bytes));
  MappedFile file(path.string());
  if (identity_of(expected.name, file.bytes(), pool) != expected)
    refuse(path.string(), "was altered: its SHA-256 is not the manifest's");
  return file;
}

}  // namespace

FileIdentity identify_file(const fs::path& directory, const std::string& name, ThreadPool& pool) {
  const MappedFile file((directory / name).string());
  return identity_of(name, file.bytes(), pool);
}

bool is_engine(const fs::path& directory) {
  const fs::path manifest = directory / kManifest;
  if (fs::is_regular_file(manifest) &&
      read_file(manifest.string()).find(kFormatName) != std::string::npos)
    return true;
  return fs::is_regular_file(directory / kHfConfig) && fs::is_regular_file(directory / kWeights);
}

std::string manifest_text(const EngineManifest& manifest) {
  json::object formats;
  for (const auto& [path, format] : manifest.formats) formats[path] = format;
  std::string text = json::to_pretty_text(json::object{
      {"format", kFormatName},
      {"format_version", manifest.format_version},
      {"millrace_version", manifest.millrace_version},
      {"architecture", manifest.architecture},
      {"targets", json::array(manifest.targets.begin(), manifest.targets.end())},
      {"piece_bytes", FileIdentity::kPieceBytes},
      {"sources", to_json(manifest.sources)},
      {"files", to_json(manifest.files)},
      {"formats", std::move(formats)},
  });
  text.resize(text.size() - std::string_view("\n}\n").size());
  text += ",\n  ";
  return text + manifest_seal(text);
}

EngineManifest parse_manifest(std::string_view text, const std::string& what) {
  try {
    const json::value parsed = json::parse(text, what);
    EngineManifest manifest = manifest_from_json({json::as_object(parsed, what), what});
    const size_t seal = text.rfind(kSeal);
    if (seal == std::string_view::npos || text.substr(seal) != manifest_seal(text.substr(0, seal)))
      refuse(what, "was altered: it does not end in its own SHA-256");
    return manifest;
  } catch (const Error& error) {
    if (!error.hint().empty()) throw;
    throw Error(error.code(), error.message(), std::string(kRebuild));
  }
}

void write_engine(const fs::path& target, const EngineContents& contents, ThreadPool& pool,
                  const ByteProgress& progress) {
  if (fs::exists(target) && !is_engine(target) &&
      !(fs::is_directory(target) && fs::is_empty(target))) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} exists and is not an engine; it is left alone", target.string()),
                "choose another --output, or remove it yourself");
  }
  StagedDirectory staged(target);
  const fs::path& directory = staged.path();
  const auto put = [&](const std::string& name, std::string_view text) {
    fs::create_directories((directory / name).parent_path());
    write_file((directory / name).string(), text);
  };
  EngineManifest manifest{.millrace_version = std::string(kVersion),
                          .architecture = contents.model.architecture,
                          .targets = {"cpu"},
                          .sources = contents.sources,
                          .formats = contents.formats};
  for (const cuda::KernelArchive& archive : contents.kernels)
    put_kernels(directory, archive, manifest);
  put("config.json", config_text(contents));
  put("tokenizer.json", contents.checkpoint->tokenizer_json);
  for (const auto& [name, text] : contents.checkpoint->config_texts) put(engine_name(name), text);

  std::vector<SafetensorsItem> weights = contents.weights;
  std::ranges::sort(weights, {}, &SafetensorsItem::name);
  uint64_t total = 0;
  for (const SafetensorsItem& item : weights)
    total += static_cast<uint64_t>(item.shape.numel() * size_of(item.dtype));
  uint64_t done = 0;
  write_safetensors((directory / kWeights).string(), weights,
                    {{"format", std::string(kFormatName)}}, [&](std::span<const std::byte> bytes) {
                      done += bytes.size();
                      if (progress) progress(std::min(done, total), total);
                    });

  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    manifest.files.push_back(
        identify_file(directory, fs::relative(entry.path(), directory).string(), pool));
  }
  std::ranges::sort(manifest.files, {}, &FileIdentity::name);
  put(std::string(kManifest), manifest_text(manifest));
  staged.commit();
}

Engine Engine::open(const fs::path& directory, ThreadPool& pool) {
  const std::string manifest_path = (directory / kManifest).string();
  if (!fs::is_regular_file(manifest_path)) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{} is missing: this is not a whole engine", manifest_path),
                std::string(kRebuild));
  }
  Engine engine{.manifest = parse_manifest(read_file(manifest_path), manifest_path)};
  // Only what the manifest lists is read, and only after it was verified.
  std::set<std::string> listed;
  for (const FileIdentity& file : engine.manifest.files) listed.insert(file.name);
  for (const std::string_view needed :
       {std::string_view("config.json"), kHfConfig, std::string_view("tokenizer.json"), kWeights}) {
    if (!listed.contains(std::string(needed)))
      refuse((directory / kManifest).string(), fmt::format("does not list {}", needed));
  }
  ModelFiles& files = engine.files;
  for (const FileIdentity& file : engine.manifest.files) {
    MappedFile verified = verify(directory, file, pool);
    if (file.name == kWeights) files.weights = Checkpoint::from_file(std::move(verified));
  }
  files.path = directory;
  for (const std::string& name : listed) {
    const bool ours = name == kConfig || name == "tokenizer.json" || name == kWeights ||
                      name.starts_with(kKernels);
    if (ours) continue;
    files.config_texts.emplace(name == kHfConfig ? "config.json" : name,
                               read_file((directory / name).string()));
  }
  files.tokenizer_json = read_file((directory / "tokenizer.json").string());
  files.naming = WeightNaming::kCanonical;
  files.build = read_build_config(directory);
  for (const std::string& target : engine.manifest.targets) {
    const auto arch = cuda::arch_from_name(target);
    if (!arch) continue;
    if (!listed.contains(kernel_archive_name(*arch)))
      refuse(manifest_path, fmt::format("does not list {}", kernel_archive_name(*arch)));
  }
  return engine;
}

void add_kernels(const Engine& engine, const std::vector<cuda::KernelArchive>& kernels,
                 ThreadPool& pool) {
  const fs::path& directory = engine.files.path;
  EngineManifest manifest = engine.manifest;
  StagedDirectory staged(directory);
  for (const FileIdentity& file : manifest.files) {
    fs::create_directories((staged.path() / file.name).parent_path());
    std::error_code other_file_system;
    fs::create_hard_link(directory / file.name, staged.path() / file.name, other_file_system);
    if (other_file_system) fs::copy_file(directory / file.name, staged.path() / file.name);
  }
  for (const cuda::KernelArchive& archive : kernels) {
    const std::string name = kernel_archive_name(archive.arch);
    fs::remove(staged.path() / name);
    std::erase_if(manifest.files, [&](const FileIdentity& file) { return file.name == name; });
    put_kernels(staged.path(), archive, manifest);
    manifest.files.push_back(identify_file(staged.path(), name, pool));
  }
  std::ranges::sort(manifest.files, {}, &FileIdentity::name);
  write_file((staged.path() / kManifest).string(), manifest_text(manifest));
  staged.commit();
}

}  // namespace millrace
