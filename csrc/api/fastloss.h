/* The C interface of fastloss: every loss by name, over plain pointers, without any framework.
 * All functions are thread-safe. Functions that return int return 0, or -1 with a sentence in
 * fastloss_error(). */
#ifndef FASTLOSS_H_
#define FASTLOSS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTLOSS_API __attribute__((visibility("default")))

/* The codes are TensorFlow's, so that no table of translations is needed. */
typedef enum fastloss_dtype {
  FASTLOSS_FLOAT32 = 1,
  FASTLOSS_FLOAT64 = 2,
  FASTLOSS_INT32 = 3,
  FASTLOSS_UINT8 = 4,
  FASTLOSS_INT16 = 5,
  FASTLOSS_INT8 = 6,
  FASTLOSS_INT64 = 9,
  FASTLOSS_BOOL = 10,
  FASTLOSS_BFLOAT16 = 14,
  FASTLOSS_UINT16 = 17,
  FASTLOSS_FLOAT16 = 19,
  FASTLOSS_UINT32 = 22,
  FASTLOSS_UINT64 = 23
} fastloss_dtype;

typedef enum fastloss_reduction {
  FASTLOSS_NONE = 0,                   /* one value per row */
  FASTLOSS_SUM = 1,                    /* sum of the rows */
  FASTLOSS_MEAN = 2,                   /* sum / (rows * replicas) */
  FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT = 3 /* sum / (sum of weights * replicas), 0 where that is 0 */
} fastloss_reduction;

/* Runs piece(state, 0) ... piece(state, pieces - 1), in any order, on any threads, and returns when
 * all have run. */
typedef void (*fastloss_parallel_for)(void* context, int64_t pieces,
                                      void (*piece)(void* state, int64_t index), void* state);

/* One of the losses that are added up: factor * loss. */
typedef struct fastloss_term {
  const char* loss;         /* "huber" ... as in csrc/losses/elementwise.h */
  const double* parameters; /* in the order of that file */
  int32_t parameter_count;
  double factor;
} fastloss_term;

/* A matrix of labels and one of predictions, (rows, columns), row-major, and how to weigh them.
 * The accumulation type is float64 for float64 predictions, else float32. */
typedef struct fastloss_elementwise {
  const fastloss_term* terms; /* the loss is their sum */
  int32_t term_count;         /* at least 1 */
  int32_t reduction;          /* fastloss_reduction */
  int32_t replicas;           /* at least 1 */
  int32_t y_true_dtype;
  int32_t y_pred_dtype; /* float16, bfloat16, float32 or float64 */
  int64_t rows, columns;
  const void* y_true;
  const void* y_pred;
  /* Row r weighs weight[(r / weight_repeat) % weight_count]; accumulation type; may be NULL. */
  const void* weight;
  int64_t weight_count, weight_repeat;
  /* How many times the caller has repeated each number in `weight`; 0 is once. The divisor of
   * FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT counts each once, as Keras does. */
  int64_t weight_expansion;
  /* Element e has column_weight[e % column_weight_count] (pos_weight); accumulation type; may be
   * NULL, which is 1; for one term only. */
  const void* column_weight;
  int64_t column_weight_count;
  fastloss_parallel_for parallel_for; /* NULL: the library's own threads */
  void* parallel_context;
} fastloss_elementwise;

/* loss: (rows,) for FASTLOSS_NONE, else a scalar; accumulation type.
 * term_values: NULL, or (term_count,), each term's loss as it would be alone, without its factor;
 * accumulation type; of a scalar loss.
 * gradient: NULL, or (rows, columns) of y_pred's type, the gradient of the scalar loss; it may be
 * y_pred itself unless a term needs_all_labels, which may take a second pass. */
FASTLOSS_API int fastloss_elementwise_forward(const fastloss_elementwise* call, void* loss,
                                              void* term_values, void* gradient);

/* upstream: (rows,) for FASTLOSS_NONE, else a scalar; accumulation type. */
FASTLOSS_API int fastloss_elementwise_backward(const fastloss_elementwise* call,
                                               const void* upstream, void* gradient);

/* The losses of a pattern, separated by spaces: a name, its parameters in order, and what else
 * there is to know of it, each after a colon, as in
 *   huber(delta):fuses_with_overlap kl_divergence(epsilon):sum:fuses_with_overlap
 * hinge():needs_all_labels sum: a row's loss is the sum of its elements, not their mean.
 * needs_all_labels: the first value depends on all labels.
 * sparse: a label is a class, one for each row.
 * no_dense_form: of a sparse loss; its labels cannot be rows, nor be smoothed.
 * couples_classes: all classes have one loss together.
 * fuses_with_overlap: it can be one of the fused_terms of an overlap loss. */
FASTLOSS_API const char* fastloss_elementwise_losses(void);
FASTLOSS_API const char* fastloss_rowwise_losses(void);
FASTLOSS_API const char* fastloss_overlap_losses(void);
FASTLOSS_API const char* fastloss_box_losses(void);

/* A loss of some columns: of y_true from first_true on, of y_pred from first_pred on. */
typedef struct fastloss_task {
  fastloss_term term;
  int64_t first_true, first_pred, columns;
} fastloss_task;

/* Elementwise losses of ranges of columns, added up: labels (rows, true_columns), predictions
 * (rows, pred_columns), row-major. Ranges may overlap, and columns may be left out. */
typedef struct fastloss_columns {
  const fastloss_task* tasks; /* the loss is their sum */
  int32_t task_count;         /* at least 1 */
  int32_t reduction;          /* fastloss_reduction, not FASTLOSS_NONE; of each task's rows */
  int32_t replicas;           /* at least 1 */
  int32_t y_true_dtype;
  int32_t y_pred_dtype; /* float16, bfloat16, float32 or float64 */
  int64_t rows, true_columns, pred_columns;
  const void* y_true;
  const void* y_pred;
  /* (task_count,): what the factors of the tasks are multiplied by; accumulation type; may be NULL,
   * which is 1. */
  const void* factor;
  /* As in fastloss_elementwise. */
  const void* weight;
  int64_t weight_count, weight_repeat, weight_expansion;
  fastloss_parallel_for parallel_for; /* NULL: the library's own threads */
  void* parallel_context;
} fastloss_columns;

/* loss: a scalar; task_values: NULL, or (task_count,), each task's loss without its factor;
 * accumulation type.
 * gradient: NULL, or (rows, pred_columns) of y_pred's type; it may be y_pred itself. */
FASTLOSS_API int fastloss_columns_forward(const fastloss_columns* call, void* loss,
                                          void* task_values, void* gradient);

/* upstream: a scalar of the accumulation type. */
FASTLOSS_API int fastloss_columns_backward(const fastloss_columns* call, const void* upstream,
                                           void* gradient);

/* Rows of classes: predictions (outer, classes, inner), row-major; row o * inner + i is [o, :, i].
 * The accumulation type is float64 for float64 predictions, else float32. */
typedef struct fastloss_rowwise {
  const char* loss; /* "categorical_crossentropy" ... as in csrc/losses/rowwise.h */
  const double* parameters;
  int32_t parameter_count;
  int32_t reduction; /* fastloss_reduction; ignored rows count in neither mean */
  int32_t replicas;  /* at least 1 */
  int32_t y_true_dtype;
  int32_t y_pred_dtype; /* float16, bfloat16, float32 or float64 */
  int64_t outer, classes, inner;
  const void* y_true; /* of a sparse loss (outer, inner), else as the predictions */
  const void* y_pred;
  /* As in fastloss_elementwise. */
  const void* weight;
  int64_t weight_count, weight_repeat, weight_expansion;
  /* (classes,), accumulation type, may be NULL: each class's label is multiplied by its weight. */
  const void* class_weight;
  double
      label_smoothing;  /* labels become (1 - label_smoothing) label + label_smoothing / classes */
  double temperature;   /* logits are divided by it; 1 for none */
  double logit_softcap; /* logits become cap tanh(logit / cap) before that; 0 for none */
  double z_loss;        /* z_loss log_sum_exp^2 is added to each row */
  int32_t has_ignore_class; /* 1 if ignore_class counts */
  /* Rows of this label have no loss and no gradient; of label rows, those that are 0 outside of
   * this class. */
  int64_t ignore_class;
  fastloss_parallel_for parallel_for; /* NULL: the library's own threads */
  void* parallel_context;
} fastloss_rowwise;

/* loss: (rows,) for FASTLOSS_NONE, else a scalar; accumulation type.
 * gradient: NULL, or like y_pred, the gradient of the scalar loss; may be y_pred itself.
 * log_sum_exp: NULL, or (rows,), accumulation type; of a loss from logits.
 * hit: NULL, or (rows,): 1 where the label is the first of the largest predictions.
 * Fails for a sparse label that is neither a class nor ignored. */
FASTLOSS_API int fastloss_rowwise_forward(const fastloss_rowwise* call, void* loss, void* gradient,
                                          void* log_sum_exp, uint8_t* hit);

/* upstream: (rows,) for FASTLOSS_NONE, else a scalar; accumulation type. */
FASTLOSS_API int fastloss_rowwise_backward(const fastloss_rowwise* call, const void* upstream,
                                           void* gradient);

typedef enum fastloss_activation {
  FASTLOSS_IDENTITY = 0,
  FASTLOSS_SIGMOID = 1,
  FASTLOSS_SOFTMAX = 2
} fastloss_activation;

/* Regions: predictions (outer, above, classes, inner), row-major, of which `above` and `inner` are
 * summed over. A group is what has a loss of its own: an outer, a class, both, or all together. The
 * accumulation type is float64 for float64 predictions, else float32. */
typedef struct fastloss_overlap {
  const char* loss; /* "dice" ... as in csrc/losses/overlap.h */
  const double* parameters;
  int32_t parameter_count;
  int32_t reduction; /* fastloss_reduction */
  int32_t replicas;  /* at least 1 */
  int32_t y_true_dtype;
  int32_t y_pred_dtype; /* float16, bfloat16, float32 or float64 */
  int64_t outer, above, classes, inner;
  const void* y_true; /* as the predictions; if sparse (outer, above, inner), classes */
  const void* y_pred;
  /* Of the groups (outer, classes) as in fastloss_elementwise of the rows. */
  const void* weight;
  int64_t weight_count, weight_repeat, weight_expansion;
  const void* class_weight; /* (classes,), accumulation type, may be NULL */
  int32_t activation;       /* fastloss_activation, taken of the predictions */
  int32_t per_outer, per_class;
  int32_t sparse;
  int32_t squared;          /* the sums of labels and of predictions are those of squares */
  int32_t skip_background;  /* class 0 has no group and no part in one */
  int32_t has_ignore_class; /* 1 if ignore_class counts */
  /* Positions of this label have no part in a sum and no gradient; of label rows, those that are 0
   * outside of this class. */
  int64_t ignore_class;
  /* Losses of the same labels and predictions that are added: elementwise ones, or, after a
   * softmax, rowwise ones from logits, of class labels if sparse. `factor` is that of the region
   * loss beside them. Their means count elements, or rows that are not ignored. */
  const fastloss_term* fused_terms;
  int32_t fused_term_count;
  double factor;
  fastloss_parallel_for parallel_for; /* NULL: the library's own threads */
  void* parallel_context;
} fastloss_overlap;

/* loss: (groups,) for FASTLOSS_NONE, else a scalar; accumulation type.
 * term_values: NULL, or (1 + fused_term_count,): the loss of the regions and of each fused_term as
 * it would be alone, without its factor; accumulation type; of a scalar loss.
 * gradient: NULL, or like y_pred, the gradient of the scalar loss; may be y_pred itself.
 * Fails for a sparse label that is neither a class nor ignored. */
FASTLOSS_API int fastloss_overlap_forward(const fastloss_overlap* call, void* loss,
                                          void* term_values, void* gradient);

/* upstream: (groups,) for FASTLOSS_NONE, else a scalar; accumulation type. */
FASTLOSS_API int fastloss_overlap_backward(const fastloss_overlap* call, const void* upstream,
                                           void* gradient);

typedef enum fastloss_box_format {
  FASTLOSS_CORNERS = 0, /* x1, y1, x2, y2, or with x and y the other way round */
  FASTLOSS_CENTRE = 1   /* x, y, width, height, or with x and y the other way round */
} fastloss_box_format;

/* Pairs of boxes, (boxes, 4), row-major. The accumulation type is float64 for float64 predictions,
 * else float32. */
typedef struct fastloss_boxes {
  const char* loss; /* "box_iou" ... as in csrc/losses/boxes.h */
  const double* parameters;
  int32_t parameter_count;
  int32_t reduction; /* fastloss_reduction, over the boxes */
  int32_t replicas;  /* at least 1 */
  int32_t y_true_dtype;
  int32_t y_pred_dtype; /* float16, bfloat16, float32 or float64 */
  int32_t box_format;   /* fastloss_box_format */
  int64_t boxes;
  const void* y_true;
  const void* y_pred;
  /* As in fastloss_elementwise. */
  const void* weight;
  int64_t weight_count, weight_repeat, weight_expansion;
  fastloss_parallel_for parallel_for; /* NULL: the library's own threads */
  void* parallel_context;
} fastloss_boxes;

/* loss: (boxes,) for FASTLOSS_NONE, else a scalar; accumulation type.
 * gradient: NULL, or (boxes, 4) of y_pred's type, the gradient of the scalar loss; may be y_pred
 * itself. */
FASTLOSS_API int fastloss_boxes_forward(const fastloss_boxes* call, void* loss, void* gradient);

/* upstream: (boxes,) for FASTLOSS_NONE, else a scalar; accumulation type. */
FASTLOSS_API int fastloss_boxes_backward(const fastloss_boxes* call, const void* upstream,
                                         void* gradient);

/* scaled = gradient * upstream[0]; upstream has the accumulation type of `dtype`. */
FASTLOSS_API int fastloss_scale(int32_t dtype, int64_t count, const void* gradient,
                                const void* upstream, void* scaled,
                                fastloss_parallel_for parallel_for, void* parallel_context);

/* total += part; total has the accumulation type of `dtype`, that of part. */
FASTLOSS_API int fastloss_accumulate(int32_t dtype, int64_t count, const void* part, void* total,
                                     fastloss_parallel_for parallel_for, void* parallel_context);

/* out[i] = function(x[i]) or function(x[i], y[i]) of csrc/losses/scalar.h; isa as fastloss_isa. */
FASTLOSS_API int fastloss_scalar(const char* function, const char* isa, int32_t dtype,
                                 const void* x, const void* y, void* out, int64_t count);

/* The bandwidth roof of a loss: copies `bytes` with the threads and the stores that the losses use.
 */
FASTLOSS_API int fastloss_copy(int64_t bytes, const void* from, void* to,
                               fastloss_parallel_for parallel_for, void* parallel_context);

/* The instruction set in use: "baseline", "avx2" or "avx512". */
FASTLOSS_API const char* fastloss_isa(void);
/* Chooses one; "" is the best that this CPU has. Fails for one that it lacks. */
FASTLOSS_API int fastloss_set_isa(const char* isa);
/* Those that this CPU runs, separated by spaces, best last. */
FASTLOSS_API const char* fastloss_isas(void);

/* Threads of the library's own pool; 0 sets as many as the CPU has. */
FASTLOSS_API int32_t fastloss_threads(void);
FASTLOSS_API void fastloss_set_threads(int32_t threads);

/* Large buffers on huge pages, recycled: a fresh 64 MB gradient costs more in page faults than the
 * loss itself. Idle ones are left to the system to reclaim. */
FASTLOSS_API void* fastloss_allocate(int64_t bytes);
FASTLOSS_API void fastloss_release(void* buffer, int64_t bytes);
/* Gives idle buffers back now; returns how many bytes that were. */
FASTLOSS_API int64_t fastloss_trim(void);

/* The last error of this thread. */
FASTLOSS_API const char* fastloss_error(void);
FASTLOSS_API const char* fastloss_version(void);

#ifdef __cplusplus
}
#endif

#endif /* FASTLOSS_H_ */
