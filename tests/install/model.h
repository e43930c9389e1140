/* The bytes of an ONNX model that adds x, f32 [rows, 3], to itself: y. What README.md's example of
 * the C interface takes for granted; see run.sh. */
#include <stdint.h>

static const uint8_t model_bytes[] = {
    8,  8,  18, 0,   58,  73,  10,  18,  10, 1,  120, 10,  1,   120, 18,  1,   121,
    26, 0,  34, 3,   65,  100, 100, 58,  0,  18, 1,   103, 90,  23,  10,  1,   120,
    18, 18, 10, 16,  8,   1,   18,  12,  10, 6,  18,  4,   114, 111, 119, 115, 10,
    2,  8,  3,  98,  23,  10,  1,   121, 18, 18, 10,  16,  8,   1,   18,  12,  10,
    6,  18, 4,  114, 111, 119, 115, 10,  2,  8,  3,   66,  4,   10,  0,   16,  17,
};
static const uint64_t model_bytes_size = sizeof model_bytes;
