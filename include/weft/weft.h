/* weft.h - the public interface of Weft, an inference runtime for ONNX models.
 *
 *   weft_runtime   the hooks to the outside: memory, log, clock, threads; the rest hangs on it
 *   weft_model     a parsed model file: inputs, outputs, metadata, weights
 *   weft_session   a model made ready for one device: optimised, planned, weights packed
 *   weft_tensor    a typed array, its memory either its own or the caller's
 *
 * Life: open with weft_x_open(..., &x, error), close with weft_x_close(&x), which also sets x to
 * NULL and accepts NULL. Close sessions and tensors before the runtime. A model may be closed while
 * sessions on it live.
 *
 * Errors: every function that can fail returns a weft_status and, where `error` is not NULL, writes
 * a sentence there that names the node, tensor or byte offset and the cause. The library never
 * aborts, exits or prints.
 *
 * Threads: objects may be used from any thread, one thread at a time per object;
 * weft_session_cancel from any at any time. Different sessions run at the same time.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION       "0.1.0"

/* A tensor has at most this many dimensions. */
#define WEFT_RANK_MAX 8

/* ---- status and errors ----------------------------------------------------------------------- */

typedef enum weft_status {
  WEFT_OK = 0,
  WEFT_PENDING = 1,           /* not an error: the work goes on when resumed */
  WEFT_INVALID_ARGUMENT = -1, /* the caller's mistake */
  WEFT_INVALID_MODEL = -2,    /* the file is malformed or contradicts itself */
  WEFT_UNSUPPORTED = -3,      /* valid, but beyond what this version does */
  WEFT_OUT_OF_MEMORY = -4,    /* the allocator refused */
  WEFT_LIMIT_EXCEEDED = -5,   /* a bound on size, memory or depth was met */
  WEFT_INVALID_DATA = -6,     /* run-time values are out of range (an index, a division by zero) */
  WEFT_CANCELLED = -7,        /* weft_session_cancel, or a progress callback that answered false */
  WEFT_TIMED_OUT = -8,        /* the time limit of the run passed */
  WEFT_IO_ERROR = -9,         /* a reader or resolver callback failed */
  WEFT_DEVICE_LOST = -10,     /* the GPU went away: open it and its sessions anew */
  WEFT_INTERNAL = -11,        /* a bug in Weft */
} weft_status;

/* A short constant name: "ok", "invalid model", ... */
const char *weft_status_name(weft_status status);

/* Where a failing call says what went wrong. Owned by the caller, on its stack for instance; no
 * initialisation is needed. */
typedef struct weft_error {
  weft_status status;
  char message[500]; /* UTF-8, ends with NUL */
} weft_error;

/* ---- element types --------------------------------------------------------------------------- */

/* The numbers are those of ONNX TensorProto.DataType. */
typedef enum weft_dtype {
  WEFT_DTYPE_NONE = 0,
  WEFT_F32 = 1,
  WEFT_U8 = 2,
  WEFT_I8 = 3,
  WEFT_U16 = 4,
  WEFT_I16 = 5,
  WEFT_I32 = 6,
  WEFT_I64 = 7,
  WEFT_STRING = 8,
  WEFT_BOOL = 9,
  WEFT_F16 = 10,
  WEFT_F64 = 11,
  WEFT_U32 = 12,
  WEFT_U64 = 13,
  WEFT_BF16 = 16,
} weft_dtype;

/* Bytes of one element; 0 for WEFT_STRING and unknown types. */
size_t weft_dtype_size(weft_dtype dtype);
/* "f32", "i64", ...; "?" for unknown types. */
const char *weft_dtype_name(weft_dtype dtype);

/* ---- runtime --------------------------------------------------------------------------------- */

/* Memory. `allocate` answers NULL when it has none; the alignment is a power of two up to 64.
 * `release` gets the size that was asked for. Both may be called from several threads at once. */
typedef struct weft_allocator {
  void *(*allocate)(void *user, size_t bytes, size_t alignment);
  void (*release)(void *user, void *memory, size_t bytes);
  void *user;
} weft_allocator;

typedef enum weft_log_level {
  WEFT_LOG_DEBUG = 0,
  WEFT_LOG_INFO = 1,
  WEFT_LOG_WARNING = 2,
  WEFT_LOG_ERROR = 3,
} weft_log_level;

typedef struct weft_logger {
  void (*write)(void *user, weft_log_level level, const char *message);
  void *user;
  weft_log_level level; /* messages below it are not made */
} weft_logger;

/* A clock in nanoseconds that never runs backwards. */
typedef struct weft_clock {
  uint64_t (*now_ns)(void *user);
  void *user;
} weft_clock;

/* Threads: calls task(arg, i) once for each i in [0, tasks), from up to `count` threads, and
 * returns when all are done. A caller's own pool may stand behind it. */
typedef struct weft_threads {
  void (*parallel_for)(void *user, size_t tasks, void (*task)(void *arg, size_t i), void *arg);
  void *user;
  uint32_t count;
} weft_threads;

/* A member whose function pointer is NULL takes the built-in: the system's heap, no log, the
 * system's clock, and a pool of `thread_count` threads (1: everything on the calling thread). */
typedef struct weft_runtime_options {
  weft_allocator allocator;
  weft_logger logger;
  weft_clock clock;
  weft_threads threads;
  uint32_t thread_count; /* 0 = one thread */
} weft_runtime_options;

typedef struct weft_runtime weft_runtime;

weft_runtime_options weft_runtime_options_default(void);
/* `options` may be NULL. */
weft_status weft_runtime_open(const weft_runtime_options *options, weft_runtime **out,
                              weft_error *error);
void weft_runtime_close(weft_runtime **runtime);

typedef struct weft_memory_use {
  uint64_t bytes;      /* held now */
  uint64_t bytes_peak; /* the most ever held */
  uint64_t calls;      /* allocations asked for so far */
  /* In a GPU's memory, of a session alone: weights, activations, caches and other tensors. */
  uint64_t device_bytes, device_bytes_peak;
} weft_memory_use;

/* What this runtime and all that was opened on it takes from the allocator. */
weft_memory_use weft_runtime_memory(const weft_runtime *runtime);

/* ---- model ----------------------------------------------------------------------------------- */

/* The bytes of a file. Either they lie in memory (`bytes`), then weights are used in place and the
 * bytes must outlive the model and its sessions; or `read` copies a range, and is called while the
 * model and the session open, so that the file is never in memory as a whole. `read` answers
 * WEFT_OK or a failure, and never sees a range past `size`. */
typedef struct weft_source {
  uint64_t size;
  const void *bytes;
  weft_status (*read)(void *user, uint64_t offset, size_t length, void *destination);
  void *user;
} weft_source;

/* Load progress: `done` of `total` bytes (total 0: unknown). Answer false to cancel. */
typedef bool (*weft_progress_fn)(void *user, uint64_t done, uint64_t total);

/* External data: finds the bytes for `location`, the string that stands in the model. The library
 * opens no path; the callback decides what the string may mean. It is called once for each
 * location. The source must outlive the model. With a loader it may also answer WEFT_PENDING: the
 * bytes will be fed (weft_loader_feed_external); out->size is then the file's size, 0 where
 * unknown.
 */
typedef weft_status (*weft_resolve_fn)(void *user, const char *location, weft_source *out);

typedef struct weft_model_options {
  weft_resolve_fn resolve;
  void *resolve_user;
  weft_progress_fn progress;
  void *progress_user;
  uint64_t memory_limit; /* bytes that the model may hold; 0 = no limit */
} weft_model_options;

typedef struct weft_model weft_model;

weft_model_options weft_model_options_default(void);

/* Parses an ONNX ModelProto (IR version 3 and up, opset 7 and up). `options` may be NULL. */
weft_status weft_model_open(weft_runtime *runtime, const weft_source *source,
                            const weft_model_options *options, weft_model **out, weft_error *error);
void weft_model_close(weft_model **model);

/* The same for bytes that arrive in pieces (a download): feed them in order, then finish. Weights
 * are copied once, each to memory of its own, so that the file is never held as a whole. `size` is
 * the file's size, 0 where unknown. After a failed feed or finish only weft_loader_close is left to
 * do; finish closes the loader when it succeeds. */
typedef struct weft_loader weft_loader;
weft_status weft_loader_open(weft_runtime *runtime, uint64_t size,
                             const weft_model_options *options, weft_loader **out,
                             weft_error *error);
weft_status weft_loader_feed(weft_loader *loader, const void *bytes, size_t length,
                             weft_error *error);
weft_status weft_loader_finish(weft_loader **loader, weft_model **out, weft_error *error);
void weft_loader_close(weft_loader **loader);

/* A loader that has read its file from a source already, as weft_model_open does: for models whose
 * external data is fed. */
weft_status weft_loader_open_source(weft_runtime *runtime, const weft_source *source,
                                    const weft_model_options *options, weft_loader **out,
                                    weft_error *error);
/* Bytes of all weights, external data included, as far as the file has been read. */
uint64_t weft_loader_weight_bytes(const weft_loader *loader);

/* External data that is fed. finish answers WEFT_PENDING while some is wanted: ask for ranges and
 * feed them until none is, then call finish again. Small tensors are asked for first, the others
 * when the graph is known to be good; within a file in the order of offsets. Each goes straight to
 * memory of its own. Bytes may come in any pieces; those that are not wanted are passed over, so
 * that a file may also be fed as a whole. */
typedef struct weft_wanted {
  const char *location;    /* lives as long as the loader */
  uint32_t file;           /* the location's number */
  uint64_t offset, length; /* up to the next gap that is worth an interruption */
} weft_wanted;
/* False when nothing is wanted, or the loader has failed. */
bool weft_loader_wanted(const weft_loader *loader, weft_wanted *out);
weft_status weft_loader_feed_external(weft_loader *loader, uint32_t file, uint64_t offset,
                                      const void *bytes, size_t length, weft_error *error);

/* An input or output of a model. Strings live as long as the model. */
typedef struct weft_value_info {
  const char *name;
  weft_dtype dtype;
  int32_t rank;                         /* -1: unknown */
  int64_t dims[WEFT_RANK_MAX];          /* -1: not fixed */
  const char *dim_names[WEFT_RANK_MAX]; /* "batch", ...; NULL where fixed or anonymous */
} weft_value_info;

size_t weft_model_input_count(const weft_model *model);
size_t weft_model_output_count(const weft_model *model);
weft_status weft_model_input(const weft_model *model, size_t index, weft_value_info *out);
weft_status weft_model_output(const weft_model *model, size_t index, weft_value_info *out);

/* The model's description, then its metadata_props. Strings live as long as the model. */
typedef struct weft_model_info {
  const char *producer, *producer_version, *domain, *graph_name, *description;
  int64_t ir_version, model_version, opset; /* opset: of the default domain */
  size_t metadata_count;
  uint64_t weight_bytes; /* of all initializers */
  uint64_t node_count;   /* in the file, subgraphs included */
} weft_model_info;
void weft_model_describe(const weft_model *model, weft_model_info *out);
weft_status weft_model_metadata(const weft_model *model, size_t index, const char **key,
                                const char **value);

/* ---- tensor ---------------------------------------------------------------------------------- */

typedef struct weft_tensor weft_tensor;

/* A dense row-major tensor with memory of its own, zeroed. */
weft_status weft_tensor_open(weft_runtime *runtime, weft_dtype dtype, const int64_t *dims,
                             size_t rank, weft_tensor **out, weft_error *error);
/* A tensor over the caller's memory, not copied: it must outlive the tensor, hold `bytes` >= the
 * elements' bytes, and be aligned to the element's size. */
weft_status weft_tensor_wrap(weft_runtime *runtime, weft_dtype dtype, const int64_t *dims,
                             size_t rank, void *data, size_t bytes, weft_tensor **out,
                             weft_error *error);
/* Another handle on the same contents, without a copy. Of a tensor that a session handed out it is
 * the way to keep it: the share outlives the session's next run, which leaves its contents alone,
 * and the session itself. */
weft_status weft_tensor_share(const weft_tensor *tensor, weft_tensor **out, weft_error *error);
/* Cheap: memory goes with the last handle on it. */
void weft_tensor_close(weft_tensor **tensor);

weft_dtype weft_tensor_dtype(const weft_tensor *tensor);
size_t weft_tensor_rank(const weft_tensor *tensor);
const int64_t *weft_tensor_dims(const weft_tensor *tensor);
/* The elements, dense and row-major. Those of a cache (see weft_session_run) are gathered by the
 * first call, into memory that belongs to the tensor: NULL when there is none, and what is written
 * there does not reach the cache. */
void *weft_tensor_data(const weft_tensor *tensor);
/* Of the elements. */
size_t weft_tensor_bytes(const weft_tensor *tensor);

/* Tensors may lie in the memory of a GPU: caches of a session on one, and outputs that it was asked
 * for there. They can be fed to it again, and to other sessions on the same GPU. They keep the GPU
 * open, and are used by one thread with it. weft_tensor_data answers NULL until the elements were
 * fetched. */
bool weft_tensor_on_device(const weft_tensor *tensor);
/* The number of the GPU's memory (its driver's buffer) that the elements lie in; 0: none. */
uint32_t weft_tensor_memory(const weft_tensor *tensor);
/* Brings the elements to the host, where weft_tensor_data finds them. WEFT_PENDING: call again,
 * with weft_session_poll between. WEFT_OK at once where they are on the host already. */
weft_status weft_tensor_fetch(weft_tensor *tensor, weft_error *error);

/* ---- session --------------------------------------------------------------------------------- */

/* How matmuls with quantised weights (MatMulNBits, DynamicQuantizeLinear + MatMulInteger, ...) take
 * their other operand. */
typedef enum weft_activations {
  WEFT_ACTIVATIONS_AUTO = 0, /* rounded to 8 bits where the model allows it (accuracy_level 4 or
                                none), else as they are */
  WEFT_ACTIVATIONS_F32 = 1,  /* never rounded */
  WEFT_ACTIVATIONS_INT8 = 2, /* always rounded */
} weft_activations;

/* Takes text in pieces, which are its only while it is called. */
typedef void (*weft_write_fn)(void *user, const char *text, size_t length);

/* A GPU, by WebGPU. Sessions share it, and the kernels compiled for it.
 *
 * It can be lost: a reset, a driver's crash, no power. The call that meets the loss answers
 * WEFT_DEVICE_LOST, and so does every later one that needs the GPU, on any of its sessions, or
 * tensors in its memory, whose contents are gone. All others work, and closing, in any order: close
 * sessions, tensors and the weft_gpu, then open a GPU and sessions anew. Results are the same. */
typedef struct weft_gpu weft_gpu;

typedef struct weft_gpu_options {
  /* A part of the adapter's name or "null" (executes nothing; for tests); NULL: the fastest. */
  const char *adapter;
} weft_gpu_options;

/* `options` may be NULL. WEFT_UNSUPPORTED: this build or machine has no WebGPU, and why. Close it
 * when all sessions on it are closed. */
weft_status weft_gpu_open(weft_runtime *runtime, const weft_gpu_options *options, weft_gpu **out,
                          weft_error *error);
void weft_gpu_close(weft_gpu **gpu);
/* What was measured so far, as text, to be kept: reading it spares the measuring. It is refused
 * (WEFT_INVALID_DATA, and why) where it came from another GPU or other kernels, or is malformed. */
void weft_gpu_write_tuning(const weft_gpu *gpu, weft_write_fn write, void *user);
weft_status weft_gpu_read_tuning(weft_gpu *gpu, const char *text, size_t length, weft_error *error);
/* "vendor architecture, description", and what it can do beyond the baseline. Lives as long. */
const char *weft_gpu_description(const weft_gpu *gpu);

/* Which variants of a GPU's kernels are taken: by a guess from the adapter's facts, or by timing
 * some (for about a second) or all of them in weft_session_prepare, on the shapes that the model is
 * likely to see. What was measured belongs to the weft_gpu, and serves all its sessions. */
typedef enum weft_tune {
  WEFT_TUNE_AUTO = 0, /* fast, but off where the adapter is a CPU */
  WEFT_TUNE_OFF = 1,
  WEFT_TUNE_FAST = 2,
  WEFT_TUNE_FULL = 3,
} weft_tune;

typedef struct weft_session_options {
  /* Run on this GPU what it can run, on the CPU the rest. NULL: all on the CPU. */
  weft_gpu *gpu;
  /* Names of rewrites to leave out, separated by commas; "all" for every optional one; NULL for
   * none. See weft_pass_name. */
  const char *disabled_passes;
  /* Take the weights out of the model while packing them, so that no weight is held twice. No other
   * session can be opened on that model afterwards. */
  bool consume_model;
  /* Force one kernel target ("reference", "avx2", ...), NULL: the best that this machine runs. */
  const char *kernels;
  weft_activations activations;
  uint32_t thread_count;     /* of the runtime's threads, at most so many; 0 = all */
  uint64_t memory_limit;     /* bytes for packed weights, plans and activations; 0 = no limit */
  bool profile;              /* keep times per node */
  weft_progress_fn progress; /* while weights are packed, in bytes */
  void *progress_user;
  weft_tune tune; /* of the GPU's kernels */
} weft_session_options;

typedef struct weft_session weft_session;

weft_session_options weft_session_options_default(void);
weft_status weft_session_open(weft_model *model, const weft_session_options *options,
                              weft_session **out, weft_error *error);
/* Ends a run that is pending. */
void weft_session_close(weft_session **session);

/* On a GPU: asks for the kernels of likely shapes, and answers WEFT_PENDING until those for a text
 * are compiled (those for single tokens of a model with caches may still be, while it runs on the
 * text): call again, with weft_session_poll between. May be left out; then the
 * first runs are pending for longer. */
weft_status weft_session_prepare(weft_session *session, weft_error *error);
/* Lets a GPU's callbacks run. With `wait` it blocks until what was pending may go on; where a
 * program cannot block (a page) it answers WEFT_PENDING instead. WebGPU reports failures late: one
 * that comes by this call ends the run that is pending. */
weft_status weft_session_poll(weft_session *session, bool wait, weft_error *error);

/* Which runs a model faster, the GPU of the options or the CPU alone: it is run on both, at likely
 * shapes, on ones. That takes up to about a second; at most 64 MiB of weights are packed for it at
 * a time, and none is taken from the model. Afterwards open the session with the options' GPU, or
 * with NULL in its place. An adapter that is a CPU itself is not tried. */
typedef struct weft_choice {
  bool on_gpu;
  char why[300]; /* "GPU: 3.1 ms against 8.4 ms on the CPU at a length of 128" */
} weft_choice;
typedef struct weft_chooser weft_chooser;
weft_status weft_chooser_open(weft_model *model, const weft_session_options *options,
                              weft_chooser **out, weft_error *error);
/* WEFT_PENDING: call again, with weft_chooser_poll (as weft_session_poll) between; else WEFT_OK. A
 * device on which the model fails is not chosen. */
weft_status weft_chooser_run(weft_chooser *chooser, weft_choice *out);
weft_status weft_chooser_poll(weft_chooser *chooser, bool wait, weft_error *error);
void weft_chooser_close(weft_chooser **chooser);

/* A tensor over the caller's memory on the session's GPU, by its number there: it must outlive the
 * tensor and hold the elements, rounded up to 16 bytes. */
weft_status weft_tensor_wrap_memory(weft_session *session, weft_dtype dtype, const int64_t *dims,
                                    size_t rank, uint32_t memory, weft_tensor **out,
                                    weft_error *error);

/* A tensor under the name of a model's input or output. */
typedef struct weft_binding {
  const char *name;
  weft_tensor *tensor;
} weft_binding;

typedef struct weft_run_options {
  uint64_t time_limit_ns; /* 0 = none */
  /* By binding of an output without a tensor: leave it in the GPU's memory. Caches of a session on
   * a GPU are there anyway. NULL: the others come to the host. */
  const bool *outputs_on_device;
  bool unprofiled; /* leave the run out of the session's profile */
} weft_run_options;

/* Runs the model. Every input must be bound. Outputs: only those named are computed for the caller;
 * a binding whose tensor is not NULL is written in place (type and shape must fit), one with NULL
 * receives a tensor that belongs to the session and holds until its next run or close (do not close
 * it; weft_tensor_share keeps it longer). A run that fails hands out nothing. On shapes seen
 * before, a run makes no allocation. Answers WEFT_PENDING when a GPU works on: call
 * weft_session_resume, with weft_session_poll between, until the answer is another one; the
 * bindings must stay valid until then, and the bytes of wrapped tensors. `options` may be NULL.
 *
 * KV caches: an output that adds rows to an input (present.* to past.*, [batch, heads, rows, size])
 * and that the session keeps lies in a buffer with room to grow. Feed it, or a share of it, as the
 * input of the next run: the new rows are written behind the old ones, nothing is copied, and no
 * allocation is made but when the buffer grows, by a third or a half. Handles on fewer rows stay as
 * they are; feeding one of these is right too, and copies where a handle on more rows lives.
 * Any other tensor is copied in. After a run that fails, an input that was fed can be fed again. */
weft_status weft_session_run(weft_session *session, const weft_run_options *options,
                             const weft_binding *inputs, size_t input_count, weft_binding *outputs,
                             size_t output_count, weft_error *error);
weft_status weft_session_resume(weft_session *session, weft_error *error);
/* Makes the running or the next run end with WEFT_CANCELLED soon. */
void weft_session_cancel(weft_session *session);

/* Text dumps, for people and golden tests: the optimised graph, or the plan of the most recent run.
 */
typedef enum weft_dump { WEFT_DUMP_GRAPH = 0, WEFT_DUMP_PLAN = 1 } weft_dump;
weft_status weft_session_dump(const weft_session *session, weft_dump what, weft_write_fn write,
                              void *user, weft_error *error);

/* Times of the steps of the most recent plan, summed over its runs. On a GPU a run that is profiled
 * takes longer, as each step is waited for. Times there are the GPU's own, where it has timestamps
 * (browsers round them, often to 0.1 ms); else, and those of copies, from the call to the end, as
 * the host sees it. Strings live until the next run or close. */
typedef struct weft_profile_entry {
  const char *op;     /* core op */
  const char *node;   /* name of the model's node */
  const char *kernel; /* what ran */
  uint64_t calls;
  uint64_t total_ns;
  double flops; /* per call; 0 where not counted */
  double bytes; /* of weights and caches read per call; 0 where not counted */
} weft_profile_entry;
size_t weft_session_profile_count(const weft_session *session);
weft_status weft_session_profile_entry(const weft_session *session, size_t index,
                                       weft_profile_entry *out);

/* What the session holds: packed weights, plans and the activation arena. */
weft_memory_use weft_session_memory(const weft_session *session);

/* The optional rewrites by index, NULL past the end, and what each does. */
const char *weft_pass_name(size_t index);
const char *weft_pass_description(size_t index);

#ifdef __cplusplus
}
#endif
#endif
