// The rows: every key of Truss's config.yaml for TensorRT-LLM engines (schema of truss
// `trt_llm_config.py` and `truss_config.py`), and our own under `millrace`.
#include "config/config_fields.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "config/accelerator.h"

namespace millrace {

namespace {

using enum FieldType;
using enum Support;
using C = ConfigFile;
using V = FieldValue;

constexpr int64_t kMaxTokens = 1048576;
constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

std::optional<Device> to_device(std::string_view text) {
  if (text == "auto") return std::nullopt;
  if (text == "cpu") return Device{};
  Device device{.kind = DeviceKind::kCuda};
  if (text.size() > 5) std::from_chars(text.data() + 5, text.data() + text.size(), device.index);
  return device;
}

void store_dtype(C& c, const V& v) {
  c.build.dtype = c.runtime.dtype = compute_dtype_from_name(v.text).value();
}

void store_accelerator(C& c, const V& v) {
  const auto spec = parse_accelerator(v.text);
  if (!spec || spec->accelerator.target.empty()) return;
  c.build.targets = {std::string(spec->accelerator.target)};
}

// clang-format off
const Field kFields[] = {
    // The deployment as a whole.
    {.path = "model_name",
     .about = "Name of the model; what replies call it unless served_model_name is set.",
     .store = [](C& c, const V& v) { c.model_name = v.text; }},
    {.path = "model_metadata", .type = kAny, .support = kAccepted,
     .about = "Free notes (example_model_input, tags, repo_id)."},
    {.path = "description", .support = kAccepted, .about = "Free text."},
    {.path = "resources", .type = kSection, .about = "The machine to serve on."},
    {.path = "resources.accelerator", .type = kAccelerator,
     .about = "GPU type, with a count after a colon; sets the architectures that kernels are built "
              "for.", .store = store_accelerator},
    {.path = "resources.cpu", .type = kCpu, .support = kAccepted, .fallback = "1",
     .about = "CPU cores that a scheduler reserves."},
    {.path = "resources.memory", .type = kMemory, .support = kAccepted, .fallback = "2Gi",
     .about = "Memory that a scheduler reserves."},
    {.path = "resources.use_gpu", .type = kBoolean, .support = kAccepted,
     .about = "Follows from the accelerator."},
    {.path = "resources.instance_type", .support = kAccepted,
     .about = "Machine type of a hosting platform."},
    {.path = "resources.node_count", .type = kInteger, .support = kAccepted, .min = 1, .max = 1,
     .fallback = "1", .about = "Machines per replica; only 1."},
    {.path = "resources.fabric", .type = kAny, .support = kAccepted,
     .about = "Network between the machines of one replica."},

    // What to build.
    {.path = "trt_llm", .type = kSection, .required = true, .about = "The engine."},
    {.path = "trt_llm.inference_stack", .type = kWord, .words = "v1|v2", .fallback = "v1",
     .about = "Which schema `build` and `runtime` follow."},
    {.path = "trt_llm.build", .type = kSection, .required = true, .about = "What to build."},
    {.path = "trt_llm.build.base_model", .type = kWord, .words = "encoder|encoder_bert|decoder",
     .fallback = "decoder", .about = "Kind of engine.",
     .store = [](C& c, const V& v) { c.build.base_model = base_model_from_name(v.text); }},
    {.path = "trt_llm.build.checkpoint_repository", .type = kSection,
     .about = "Where the checkpoint comes from."},
    {.path = "trt_llm.build.checkpoint_repository.source", .type = kWord, .required = true,
     .words = "HF|GCS|S3|AZURE|LOCAL|REMOTE_URL|BASETEN_TRAINING",
     .about = "Kind of place; LOCAL is a directory in Hugging Face's layout.",
     .store = [](C& c, const V& v) {
       c.build.source.kind = source_kind_from_name(v.text).value();
     }},
    {.path = "trt_llm.build.checkpoint_repository.repo", .required = true,
     .about = "Directory (relative to this file), repository id or address.",
     .store = [](C& c, const V& v) { c.build.source.repo = v.text; }},
    {.path = "trt_llm.build.checkpoint_repository.revision",
     .about = "Branch, tag, commit or refs/pr/N; by default main; no effect with LOCAL.",
     .store = [](C& c, const V& v) { c.build.source.revision = v.text; }},
    {.path = "trt_llm.build.checkpoint_repository.runtime_secret_name",
     .fallback = "hf_access_token",
     .about = "Secret with the credentials of the source; no effect with LOCAL.",
     .store = [](C& c, const V& v) { c.build.source.runtime_secret_name = v.text; }},
    {.path = "trt_llm.build.max_seq_len", .type = kInteger, .min = 1, .max = kMaxTokens,
     .about = "Tokens per sequence; at most, and by default, what the checkpoint allows.",
     .store = [](C& c, const V& v) { c.build.max_seq_len = v.integer; }},
    {.path = "trt_llm.build.max_batch_size", .type = kInteger, .min = 1, .max = 2048,
     .fallback = "256", .about = "Sequences per step; encoder_bert takes at most 1024.",
     .store = [](C& c, const V& v) { c.build.max_batch_size = v.integer; }},
    {.path = "trt_llm.build.max_num_tokens", .type = kInteger, .min = 65, .max = kMaxTokens,
     .fallback = "8192",
     .about = "Tokens per step over all sequences; encoder_bert takes at least 1024.",
     .store = [](C& c, const V& v) { c.build.max_num_tokens = v.integer; }},
    {.path = "trt_llm.build.max_beam_width", .type = kInteger, .support = kAccepted, .min = 1,
     .max = 1, .fallback = "1", .about = "Beams per request; only 1."},
    {.path = "trt_llm.build.max_prompt_embedding_table_size", .type = kInteger,
     .support = kAccepted, .min = 0, .max = kMaxInt, .fallback = "0",
     .about = "Prompts are tokens; embeddings are not taken from clients."},
    {.path = "trt_llm.build.gather_all_token_logits", .type = kBoolean, .support = kAccepted,
     .fallback = "false", .about = "Requests ask for logprobs, of the prompt too, when they want any."},
    {.path = "trt_llm.build.strongly_typed", .type = kBoolean, .support = kAccepted,
     .fallback = "false", .about = "Weights are always stored as the checkpoint has them."},
    {.path = "trt_llm.build.quantization_type", .type = kWord,
     .words = "no_quant|fp8|fp8_kv|fp4|fp4_kv|fp4_mlp_only|weights_int8|weights_kv_int8|"
              "weights_int4|weights_int4_kv_int8|smooth_quant", .fallback = "no_quant",
     .about = "How weights, activations and the KV cache are stored.",
     .store = [](C& c, const V& v) {
       c.build.quantization_type = quantization_type_from_name(v.text).value();
     }},
    {.path = "trt_llm.build.quantization_config", .type = kSection,
     .about = "How a quantization is calibrated."},
    {.path = "trt_llm.build.quantization_config.calib_size", .type = kInteger, .support = kAccepted,
     .fallback = "1024",
     .about = "Calibration samples, 64..16384 in steps of 64; no effect with no_quant."},
    {.path = "trt_llm.build.quantization_config.calib_dataset", .support = kAccepted,
     .fallback = "abisee/cnn_dailymail", .about = "Calibration data set; no effect with no_quant."},
    {.path = "trt_llm.build.quantization_config.calib_max_seq_length", .type = kInteger,
     .support = kAccepted, .fallback = "1536",
     .about = "Tokens per calibration sample, 64..16384 in steps of 64; no effect with no_quant."},
    {.path = "trt_llm.build.tensor_parallel_count", .type = kInteger, .min = 1, .max = 1024,
     .fallback = "1", .about = "GPUs that share each layer; encoders use 1."},
    {.path = "trt_llm.build.pipeline_parallel_count", .type = kInteger, .min = 1, .max = 1024,
     .fallback = "1", .about = "GPUs that share the stack of layers; only 1."},
    {.path = "trt_llm.build.sequence_parallel_count", .type = kInteger, .min = 1, .max = 1024,
     .fallback = "1", .about = "GPUs that share a sequence; only 1."},
    {.path = "trt_llm.build.moe_expert_parallel_option", .type = kInteger, .support = kAccepted,
     .min = -1, .max = 1024, .fallback = "-1", .about = "Mixtures of experts only."},
    {.path = "trt_llm.build.num_builder_gpus", .type = kInteger, .support = kAccepted, .min = 1,
     .max = 1024, .about = "Building needs no GPU."},
    {.path = "trt_llm.build.skip_build_result", .type = kBoolean, .fallback = "false",
     .about = "Serve without an engine built from the checkpoint."},
    {.path = "trt_llm.build.plugin_configuration", .type = kSection,
     .about = "KV cache switches of TensorRT-LLM."},
    {.path = "trt_llm.build.plugin_configuration.paged_kv_cache", .type = kBoolean,
     .support = kAccepted, .fallback = "true",
     .about = "The KV cache of a decoder is always paged; encoders have none."},
    {.path = "trt_llm.build.plugin_configuration.use_paged_context_fmha", .type = kBoolean,
     .support = kAccepted, .fallback = "true",
     .about = "Prompts of a decoder always read the paged KV cache; needs paged_kv_cache."},
    {.path = "trt_llm.build.plugin_configuration.use_fp8_context_fmha", .type = kBoolean,
     .support = kAccepted, .fallback = "false", .about = "Follows from quantization_type."},
    {.path = "trt_llm.build.speculator", .type = kSection, .support = kRefused,
     .about = "Speculative decoding.",
     .missing = "speculative decoding is not built yet"},
    {.path = "trt_llm.build.speculator.speculative_decoding_mode", .type = kWord,
     .words = "LOOKAHEAD_DECODING|DRAFT_TOKENS_EXTERNAL", .fallback = "DRAFT_TOKENS_EXTERNAL",
     .about = "Where drafts come from."},
    {.path = "trt_llm.build.speculator.num_draft_tokens", .type = kInteger, .min = 1, .max = 2048,
     .about = "Tokens drafted per step; by default from the three lookahead sizes."},
    {.path = "trt_llm.build.speculator.lookahead_windows_size", .type = kInteger, .min = 1,
     .max = kMaxInt, .about = "Lookahead window."},
    {.path = "trt_llm.build.speculator.lookahead_ngram_size", .type = kInteger, .min = 1,
     .max = kMaxInt, .about = "Lookahead n-gram length."},
    {.path = "trt_llm.build.speculator.lookahead_verification_set_size", .type = kInteger, .min = 1,
     .max = kMaxInt, .about = "Lookahead candidates verified per step."},
    {.path = "trt_llm.build.speculator.enable_b10_lookahead", .type = kBoolean, .fallback = "false",
     .about = "Drafts from suffix matches of dynamic length."},
    {.path = "trt_llm.build.speculator.checkpoint_repository", .type = kAny,
     .about = "Draft model (discontinued)."},
    {.path = "trt_llm.build.speculator.runtime", .type = kAny,
     .about = "Draft model (discontinued)."},
    {.path = "trt_llm.build.speculator.build", .type = kAny,
     .about = "Draft model (discontinued)."},
    {.path = "trt_llm.build.lora_adapters", .type = kAny, .support = kRefused,
     .about = "Adapters by name.", .missing = "adapters are not built yet"},
    {.path = "trt_llm.build.lora_configuration", .type = kSection, .support = kRefused,
     .about = "Limits of the adapters.", .missing = "adapters are not built yet"},
    {.path = "trt_llm.build.lora_configuration.max_lora_rank", .type = kInteger, .min = 1,
     .max = 4096, .fallback = "64", .about = "Largest rank."},
    {.path = "trt_llm.build.lora_configuration.lora_target_modules", .type = kStringList,
     .about = "Modules that adapters change."},
    {.path = "trt_llm.version_overrides", .type = kSection,
     .about = "Versions of a hosting platform's images; Millrace has one version."},
    {.path = "trt_llm.version_overrides.engine_builder_version", .support = kAccepted,
     .about = "Starts with a digit."},
    {.path = "trt_llm.version_overrides.briton_version", .support = kAccepted,
     .about = "Starts with a digit."},
    {.path = "trt_llm.version_overrides.bei_version", .support = kAccepted,
     .about = "Starts with a digit."},
    {.path = "trt_llm.version_overrides.bei_bert_version", .support = kAccepted,
     .about = "Starts with a digit."},
    {.path = "trt_llm.version_overrides.v2_llm_version", .support = kAccepted,
     .about = "Any text."},

    // How to serve.
    {.path = "trt_llm.runtime", .type = kSection, .about = "How to serve."},
    {.path = "trt_llm.runtime.served_model_name",
     .about = "`model` of replies; by default model_name.",
     .store = [](C& c, const V& v) { c.runtime.served_model_name = v.text; }},
    {.path = "trt_llm.runtime.webserver_default_route", .type = kWord, .stack = Stack::kV1,
     .words = "/v1/embeddings|/rerank|/predict|/predict_tokens",
     .about = "What `POST /` answers; by default chosen by the architecture.",
     .store = [](C& c, const V& v) { c.runtime.webserver_default_route = v.text; }},
    {.path = "trt_llm.runtime.kv_cache_free_gpu_mem_fraction", .type = kNumber,
     .stack = Stack::kV1, .min = 0, .max = 1, .fallback = "0.9",
     .about = "Of a GPU's memory that is free once weights and activations have their place, what "
              "the KV cache of a decoder takes; see millrace.kv_cache_bytes.",
     .store = [](C& c, const V& v) { c.runtime.generation.kv_cache_free_gpu_mem_fraction = v.number; }},
    {.path = "trt_llm.runtime.kv_cache_host_memory_bytes", .type = kInteger,
     .stack = Stack::kV1, .min = 1,
     .about = "Memory of the host for KV blocks that make room for others, and come back when a "
              "prompt asks for them; absent: they are computed again.",
     .store = [](C& c, const V& v) { c.runtime.generation.kv_cache_host_memory_bytes = v.integer; }},
    {.path = "trt_llm.runtime.enable_chunked_context", .type = kBoolean,
     .stack = Stack::kV1, .fallback = "true",
     .about = "Compute a long prompt in several steps; false: prompts have at most max_num_tokens. "
              "Decoders only.",
     .store = [](C& c, const V& v) { c.runtime.generation.enable_chunked_context = v.boolean; }},
    {.path = "trt_llm.runtime.batch_scheduler_policy", .type = kWord,
     .stack = Stack::kV1, .words = "guaranteed_no_evict|max_utilization",
     .fallback = "guaranteed_no_evict",
     .about = "Admit only what can finish, or what fits now, preempting the last one when blocks run "
              "out. Decoders only.",
     .store = [](C& c, const V& v) {
       c.runtime.generation.batch_scheduler_policy =
           v.text == "max_utilization" ? BatchSchedulerPolicy::kMaxUtilization
                                       : BatchSchedulerPolicy::kGuaranteedNoEvict;
     }},
    {.path = "trt_llm.runtime.request_default_max_tokens", .type = kInteger,
     .stack = Stack::kV1, .min = 1, .max = kMaxInt,
     .about = "Tokens that a request without max_tokens is answered with at most; absent: up to "
              "max_seq_len. Decoders only.",
     .store = [](C& c, const V& v) { c.runtime.generation.request_default_max_tokens = v.integer; }},
    {.path = "trt_llm.runtime.total_token_limit", .type = kInteger,
     .stack = Stack::kV1, .min = 1, .fallback = "500000",
     .about = "Tokens that all running sequences of a decoder may grow to, prompts included.",
     .store = [](C& c, const V& v) { c.runtime.generation.total_token_limit = v.integer; }},
    {.path = "trt_llm.runtime.max_seq_len", .type = kInteger, .stack = Stack::kV2, .min = 1,
     .max = kMaxTokens, .about = "Tokens per sequence."},
    {.path = "trt_llm.runtime.max_batch_size", .type = kInteger, .stack = Stack::kV2, .min = 1,
     .max = 2048, .fallback = "256", .about = "Sequences per step."},
    {.path = "trt_llm.runtime.max_num_tokens", .type = kInteger, .stack = Stack::kV2, .min = 65,
     .max = 131072, .fallback = "8192", .about = "Tokens per step."},
    {.path = "trt_llm.runtime.tensor_parallel_size", .type = kInteger, .stack = Stack::kV2,
     .min = 1, .max = 1024, .fallback = "1", .about = "GPUs that share each layer."},
    {.path = "trt_llm.runtime.enable_chunked_prefill", .type = kBoolean, .stack = Stack::kV2,
     .fallback = "true", .about = "Read long prompts in parts."},
    {.path = "trt_llm.runtime.patch_kwargs", .type = kAny, .stack = Stack::kV2,
     .about = "Settings of the engine behind the schema."},
    {.path = "trt_llm.runtime.gated_features", .type = kAny, .stack = Stack::kV2,
     .about = "Another name of patch_kwargs."},

    // Millrace's own.
    {.path = "millrace", .type = kSection, .about = "Settings that Truss's schema does not have."},
    {.path = "millrace.host", .fallback = "127.0.0.1", .about = "Address to listen on.",
     .store = [](C& c, const V& v) { c.runtime.host = v.text; }},
    {.path = "millrace.port", .type = kInteger, .min = 0, .max = 65535, .fallback = "8000",
     .about = "Port to listen on; 0 takes any free one.",
     .store = [](C& c, const V& v) { c.runtime.port = static_cast<int>(v.integer); }},
    {.path = "millrace.device", .type = kDevice, .fallback = "auto",
     .about = "Where to compute; auto takes a GPU where there is one that is supported.",
     .store = [](C& c, const V& v) { c.runtime.device = to_device(v.text); }},
    {.path = "millrace.dtype", .type = kWord, .words = "auto|fp32|fp16|bf16", .fallback = "auto",
     .about = "What to compute in; auto follows the checkpoint and the device.",
     .store = store_dtype},
    {.path = "millrace.deterministic", .type = kBoolean, .fallback = "false",
     .about = "On a GPU: make a result's bits independent of what else is in the batch, at some cost "
              "of speed; on the CPU they always are.",
     .store = [](C& c, const V& v) { c.runtime.deterministic = v.boolean; }},
    {.path = "millrace.enforce_eager", .type = kBoolean, .fallback = "false",
     .about = "On a GPU: launch every kernel of a step by itself, instead of replaying steps of few "
              "tokens from CUDA graphs; slower for those, and easier to profile.",
     .store = [](C& c, const V& v) { c.runtime.enforce_eager = v.boolean; }},
    {.path = "millrace.num_threads", .type = kInteger, .min = 0, .max = 1024, .fallback = "0",
     .about = "Compute threads on the CPU; 0 takes every core that is free to use.",
     .store = [](C& c, const V& v) { c.runtime.num_threads = static_cast<int>(v.integer); }},
    {.path = "millrace.kv_cache_bytes", .type = kInteger, .min = 1,
     .about = "Memory of the KV cache, instead of kv_cache_free_gpu_mem_fraction; on the CPU instead "
              "of a half of the memory that is free.",
     .store = [](C& c, const V& v) { c.runtime.generation.kv_cache_bytes = v.integer; }},
    {.path = "millrace.kv_block_size", .type = kWord, .words = "16|32|64|128", .fallback = "32",
     .about = "Tokens per block of the KV cache; prefixes are shared in whole blocks.",
     .store = [](C& c, const V& v) { c.runtime.generation.kv_block_size = std::stoll(v.text); }},
    {.path = "millrace.api_key", .secret = true,
     .about = "Key that every request must carry; better given by the environment variable "
              "MILLRACE_API_KEY or by api_key_file.",
     .store = [](C& c, const V& v) { c.runtime.access.api_key = v.text; }},
    {.path = "millrace.api_key_file",
     .about = "File of keys, one a line, any of which a request may carry.",
     .store = [](C& c, const V& v) { c.runtime.access.api_key_file = v.text; }},
    {.path = "millrace.allow_unauthenticated", .type = kBoolean, .fallback = "false",
     .about = "Listen on an address that other machines reach, without a key.",
     .store = [](C& c, const V& v) { c.runtime.access.allow_unauthenticated = v.boolean; }},
    {.path = "millrace.max_client_batch_size", .type = kInteger, .min = 1, .max = 65536, .fallback = "128",
     .about = "Inputs per request; more are refused.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_client_batch_size = static_cast<int>(v.integer); }},
    {.path = "millrace.max_concurrent_requests", .type = kInteger, .min = 1, .max = 1000000, .fallback = "2048",
     .about = "Requests in flight; more are answered with status 429.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_concurrent_requests = static_cast<int>(v.integer); }},
    {.path = "millrace.max_queue_time_s", .type = kInteger, .min = 1, .max = 86400, .fallback = "10",
     .about = "Seconds that a request of its size would wait for others; beyond, it is answered with "
              "status 429.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_queue_time_s = static_cast<int>(v.integer); }},
    {.path = "millrace.max_connections", .type = kInteger, .min = 1, .max = 1000000, .fallback = "4096",
     .about = "Open connections; more are answered with status 503.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_connections = static_cast<int>(v.integer); }},
    {.path = "millrace.max_body_bytes", .type = kInteger, .min = 1024, .max = int64_t{1} << 30, .fallback = "100000000",
     .about = "Size of a request's body; more is answered with status 413.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_body_bytes = v.integer; }},
    {.path = "millrace.max_total_body_bytes", .type = kInteger, .min = 1024, .max = int64_t{1} << 40, .fallback = "1000000000",
     .about = "Size of the bodies of all requests in flight; more is answered with status 503.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_total_body_bytes = v.integer; }},
    {.path = "millrace.max_header_bytes", .type = kInteger, .min = 1024, .max = 1 << 20, .fallback = "65536",
     .about = "Size of a request's head; more is answered with status 431.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_header_bytes = static_cast<int>(v.integer); }},
    {.path = "millrace.max_json_depth", .type = kInteger, .min = 4, .max = 256, .fallback = "32",
     .about = "Nested arrays and objects of a body; deeper ones are refused.",
     .store = [](C& c, const V& v) { c.runtime.limits.max_json_depth = static_cast<int>(v.integer); }},
    {.path = "millrace.header_timeout_s", .type = kInteger, .min = 1, .max = 3600, .fallback = "10",
     .about = "Seconds that the head of a request may take to arrive.",
     .store = [](C& c, const V& v) { c.runtime.limits.header_timeout_s = static_cast<int>(v.integer); }},
    {.path = "millrace.body_timeout_s", .type = kInteger, .min = 1, .max = 3600, .fallback = "60",
     .about = "Seconds without a byte of the body.",
     .store = [](C& c, const V& v) { c.runtime.limits.body_timeout_s = static_cast<int>(v.integer); }},
    {.path = "millrace.idle_timeout_s", .type = kInteger, .min = 1, .max = 86400, .fallback = "75",
     .about = "Seconds between two requests of one connection.",
     .store = [](C& c, const V& v) { c.runtime.limits.idle_timeout_s = static_cast<int>(v.integer); }},
    {.path = "millrace.request_timeout_s", .type = kInteger, .min = 1, .max = 86400, .fallback = "1200",
     .about = "Seconds until a request that is not computed is answered with status 504.",
     .store = [](C& c, const V& v) { c.runtime.limits.request_timeout_s = static_cast<int>(v.integer); }},
    {.path = "millrace.truncate", .type = kBoolean, .fallback = "true",
     .about = "Cut over-length input and say so in the reply, unless a request says otherwise; "
              "false makes it an error.",
     .store = [](C& c, const V& v) { c.runtime.truncate = v.boolean; }},
    {.path = "millrace.strict_fields", .type = kBoolean, .fallback = "false",
     .about = "Refuse a request with a field that Millrace does not know; false names such fields in the "
              "reply's header x-ignored-fields.",
     .store = [](C& c, const V& v) { c.runtime.strict_fields = v.boolean; }},
    {.path = "millrace.force_include_usage", .type = kBoolean, .fallback = "false",
     .about = "End every stream with its usage, as if its request had said stream_options.include_usage; "
              "for gateways that count tokens.",
     .store = [](C& c, const V& v) { c.runtime.force_include_usage = v.boolean; }},
    {.path = "millrace.drain_timeout_s", .type = kInteger, .min = 0, .max = 86400, .fallback = "30",
     .about = "Seconds that a stopping server waits for requests in flight.",
     .store = [](C& c, const V& v) { c.runtime.drain_timeout_s = static_cast<int>(v.integer); }},
    {.path = "millrace.log_format", .type = kWord, .words = "auto|text|json", .fallback = "auto",
     .about = "Form of log lines; auto writes text to a terminal and JSON elsewhere.",
     .store = [](C& c, const V& v) {
       c.runtime.log_format = v.text == "text"   ? LogFormat::kText
                              : v.text == "json" ? LogFormat::kJson
                                                 : LogFormat::kAuto;
     }},
    {.path = "millrace.log_level", .type = kWord, .words = "debug|info|warn|error",
     .fallback = "info", .about = "Lowest level that is logged; info has a line per request.",
     .store = [](C& c, const V& v) {
       c.runtime.log_level = v.text == "debug"  ? LogLevel::kDebug
                             : v.text == "warn" ? LogLevel::kWarn
                             : v.text == "error" ? LogLevel::kError
                                                 : LogLevel::kInfo;
     }},

    // The hosting platform's.
    {.path = "runtime", .type = kSection, .about = "How a hosting platform treats the server."},
    {.path = "runtime.predict_concurrency", .type = kInteger, .support = kAccepted, .min = 1,
     .max = kMaxInt, .fallback = "1",
     .about = "Batching follows the load; see millrace.max_concurrent_requests."},
    {.path = "runtime.streaming_read_timeout", .type = kInteger, .support = kAccepted, .min = 1,
     .max = kMaxInt, .fallback = "60", .about = "A proxy's limit."},
    {.path = "runtime.enable_tracing_data", .type = kBoolean, .support = kAccepted,
     .fallback = "false", .about = "The platform's tracing."},
    {.path = "runtime.enable_debug_logs", .type = kBoolean, .support = kAccepted,
     .fallback = "false", .about = "The platform's logs."},
    {.path = "runtime.is_websocket_endpoint", .type = kBoolean, .fallback = "false",
     .about = "The older form of transport.kind websocket."},
    {.path = "runtime.transport", .type = kSection, .about = "What requests travel on."},
    {.path = "runtime.transport.kind", .type = kWord, .words = "http|websocket|grpc",
     .fallback = "http", .about = "Protocol of the default route."},
    {.path = "runtime.transport.ping_interval_seconds", .type = kNumber, .support = kAccepted,
     .min = 0, .about = "WebSocket only."},
    {.path = "runtime.transport.ping_timeout_seconds", .type = kNumber, .support = kAccepted,
     .min = 0, .about = "WebSocket only."},
    {.path = "runtime.health_checks", .type = kSection,
     .about = "When the platform restarts a replica."},
    {.path = "runtime.health_checks.restart_check_delay_seconds", .type = kInteger,
     .support = kAccepted, .min = 0, .max = kMaxInt, .about = "The platform's."},
    {.path = "runtime.health_checks.restart_threshold_seconds", .type = kInteger,
     .support = kAccepted, .min = 0, .max = kMaxInt, .about = "The platform's."},
    {.path = "runtime.health_checks.stop_traffic_threshold_seconds", .type = kInteger,
     .support = kAccepted, .min = 0, .max = kMaxInt, .about = "The platform's."},
    {.path = "runtime.health_checks.startup_threshold_seconds", .type = kInteger,
     .support = kAccepted, .min = 0, .max = kMaxInt, .about = "The platform's."},
    {.path = "secrets", .type = kStringMap, .support = kAccepted,
     .about = "Names of secrets; values never stand here."},
    {.path = "environment_variables", .type = kStringMap, .support = kIgnored,
     .about = "Variables of the server's environment.",
     .missing = "set them in the environment that starts millrace"},
    {.path = "build_commands", .type = kStringList, .support = kIgnored,
     .about = "Shell commands of a container build.",
     .missing = "Millrace runs no commands from a configuration; run them beforehand where they "
                "are needed"},
    {.path = "build", .type = kSection, .about = "How the platform builds a container."},
    {.path = "build.model_server", .type = kWord, .support = kAccepted,
     .words = "TrussServer|TRT_LLM", .about = "Millrace is the server."},
    {.path = "build.arguments", .type = kAny, .support = kAccepted, .about = "The platform's."},
    {.path = "build.secret_to_path_mapping", .type = kAny, .support = kAccepted,
     .about = "The platform's."},
    {.path = "python_version", .type = kWord, .support = kAccepted,
     .words = "py39|py310|py311|py312|py313|py314", .about = "No Python runs here."},
    {.path = "requirements", .type = kStringList, .support = kAccepted,
     .about = "No Python runs here."},
    {.path = "requirements_file", .support = kAccepted, .about = "No Python runs here."},
    {.path = "system_packages", .type = kStringList, .support = kAccepted,
     .about = "Packages of a container."},
    {.path = "base_image", .type = kAny, .support = kAccepted, .about = "Base of a container."},
    {.path = "data_dir", .support = kAccepted, .about = "Python models only."},
    {.path = "model_framework", .support = kAccepted, .about = "Python models only."},
    {.path = "model_type", .support = kAccepted, .about = "Python models only."},
    {.path = "model_module_dir", .support = kAccepted, .about = "Python models only."},
    {.path = "model_class_filename", .support = kAccepted, .about = "Python models only."},
    {.path = "model_class_name", .support = kAccepted, .about = "Python models only."},
    {.path = "input_type", .support = kAccepted, .about = "Python models only."},
    {.path = "examples_filename", .support = kAccepted, .about = "Python models only."},
    {.path = "bundled_packages_dir", .support = kAccepted, .about = "Python models only."},
    {.path = "external_package_dirs", .type = kStringList, .support = kAccepted,
     .about = "Python models only."},
    {.path = "live_reload", .type = kBoolean, .support = kAccepted, .about = "Python models only."},
    {.path = "apply_library_patches", .type = kBoolean, .support = kAccepted,
     .about = "Python models only."},
    {.path = "spec_version", .support = kAccepted, .about = "Version of Truss's layout."},
    {.path = "docker_server", .type = kAny, .support = kRefused,
     .about = "A server in a container of its own.",
     .missing = "Millrace is the server and starts no other"},
    {.path = "weights", .type = kAny, .support = kRefused,
     .about = "Weights mirrored beside the engine.",
     .missing = "mirrored weights are not built yet; name a local directory in "
                "checkpoint_repository"},
    {.path = "model_cache", .type = kAny, .support = kRefused,
     .about = "The older form of weights.",
     .missing = "mirrored weights are not built yet; name a local directory in "
                "checkpoint_repository"},
    {.path = "external_data", .type = kAny, .support = kRefused,
     .about = "Files downloaded at build.",
     .missing = "downloads are not built yet; fetch the files beforehand"},
    {.path = "training_checkpoints", .type = kAny, .support = kRefused,
     .about = "Checkpoints of a hosted training job.",
     .missing = "a training platform's store cannot be reached; name a local directory in "
                "checkpoint_repository"},
    {.path = "bis_llm", .type = kAny, .support = kRefused,
     .about = "A hosted router over v2 engines.",
     .missing = "routing over many replicas is not built yet"},
};

constexpr std::string_view kBaseModelPath = "trt_llm.build.base_model";
constexpr std::string_view kQuantization = "trt_llm.build.quantization_type";
constexpr std::string_view kSource = "trt_llm.build.checkpoint_repository.source";
constexpr std::string_view kRoute = "trt_llm.runtime.webserver_default_route";
constexpr std::string_view kUnquantized = "engines are not quantized yet";
constexpr std::string_view kUseNoQuant = "write `quantization_type: no_quant`, or leave it out";
constexpr std::string_view kUseLocal =
    "download the checkpoint first, then write `source: LOCAL` and its directory as `repo`";
constexpr std::string_view kRenamed = "write `base_model: decoder`, which finds the architecture itself";

const SpecialValue kSpecialValues[] = {
    {kBaseModelPath, "encoder", "MR1401", "causal encoders are not built yet",
     "a Bert checkpoint is served with `base_model: encoder_bert`"},
    {kBaseModelPath, "palmyra", "MR1316", "`palmyra` is an earlier name of `decoder`", kRenamed},
    {kBaseModelPath, "qwen", "MR1316", "`qwen` is an earlier name of `decoder`", kRenamed},
    {kBaseModelPath, "llama", "MR1316", "`llama` is an earlier name of `decoder`", kRenamed},
    {kBaseModelPath, "mistral", "MR1316", "`mistral` is an earlier name of `decoder`", kRenamed},
    {kBaseModelPath, "deepseek", "MR1316", "`deepseek` is an earlier name of `decoder`", kRenamed},
    {kBaseModelPath, "whisper", "MR1316", "`whisper` is no base_model any more",
     "speech models are not part of the trt_llm schema; remove this file's trt_llm section"},
    {kQuantization, "fp8", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "fp8_kv", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "fp4", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "fp4_kv", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "fp4_mlp_only", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "weights_int8", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "weights_kv_int8", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "weights_int4", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "weights_int4_kv_int8", "MR1401", kUnquantized, kUseNoQuant},
    {kQuantization, "smooth_quant", "MR1401", kUnquantized, kUseNoQuant},
    {kSource, "GCS", "MR1401", "downloads from Google Cloud Storage are not built yet", kUseLocal},
    {kSource, "S3", "MR1401", "downloads from S3 are not built yet", kUseLocal},
    {kSource, "AZURE", "MR1401", "downloads from Azure Blob Storage are not built yet", kUseLocal},
    {kSource, "REMOTE_URL", "MR1401", "downloads of archives are not built yet", kUseLocal},
    {kSource, "BASETEN_TRAINING", "MR1401", "a training platform's store cannot be reached",
     kUseLocal},
    {"trt_llm.inference_stack", "v2", "MR1401",
     "inference_stack v2 is not built yet",
     "dense decoders and Bert encoders are served with `inference_stack: v1`"},
    {"trt_llm.build.skip_build_result", "true", "MR1401",
     "serving without a build result is not built yet", "remove skip_build_result"},
    {kRoute, "/predict_tokens", "MR1403",
     "the route /predict_tokens is not served yet; `POST /` will answer with status 404", ""},
    {"runtime.transport.kind", "websocket", "MR1401", "the WebSocket transport is not built yet",
     "write `kind: http`"},
    {"runtime.transport.kind", "grpc", "MR1401", "gRPC is not built yet", "write `kind: http`"},
    {"runtime.is_websocket_endpoint", "true", "MR1401", "the WebSocket transport is not built yet",
     "remove is_websocket_endpoint"},
};
// clang-format on

}  // namespace

std::string_view Field::name() const {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::string_view Field::section() const {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::span<const Field> config_fields() {
  return kFields;
}

const Field* find_field(std::string_view path) {
  const auto* found = std::find_if(std::begin(kFields), std::end(kFields),
                                   [&](const Field& field) { return field.path == path; });
  return found == std::end(kFields) ? nullptr : found;
}

std::span<const SpecialValue> special_values() {
  return kSpecialValues;
}

const SpecialValue* find_special_value(const Field& field, std::string_view value) {
  const auto* found =
      std::find_if(std::begin(kSpecialValues), std::end(kSpecialValues),
                   [&](const SpecialValue& s) { return s.path == field.path && s.value == value; });
  return found == std::end(kSpecialValues) ? nullptr : found;
}

Support effective_support(const Field& field) {
  if (field.support == kRefused || field.stack == Stack::kV2) return kRefused;
  const std::string_view section = field.section();
  if (section.empty()) return field.support;
  const Field* parent = find_field(section);
  CHECK(parent, "{} has no section in the table", field.path);
  return effective_support(*parent) == kRefused ? kRefused : field.support;
}

}  // namespace millrace
